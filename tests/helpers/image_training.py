"""Trainings of a very small network, for the tests of the training loop."""

import contextlib
import itertools
import os
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict
from image_runs import naive_metrics

from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.epochs import Stopped, train_run
from regcls_jax.loop.mesh import data_mesh
from regcls_jax.loop.start import load_checkpoint, run_folder
from regcls_jax.loop.steps import make_engine
from regcls_jax.metrics.shots import shot_groups
from regcls_jax.models import resnet
from regcls_jax.store.files import from_json
from regcls_jax.store.workdir import open_workdir

STEPS = 9  # per epoch: 130 images in batches of 16
SETTINGS = {
    **{"dataset": "utkface", "image_size": 16, "padding": 2, "depth": 18, "width": 4},
    **{"batch_size": 16, "epochs": 2, "boundaries": ()},
}


@contextlib.contextmanager
def four_layers():
    """Instead of ResNet-18 a network of one block: compiling that takes a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.DEPTHS, 18, ((1,), resnet.BasicBlock))
        yield


def four_layers_launched():
    """The environment for programs that are to build the network of `four_layers`."""
    folders = [str(Path(__file__).parent / "short_resnet"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def small_run(arm="reg", seed=0, **changes):
    return AgeRun(arm=arm, seed=seed, **{**SETTINGS, **changes})


def train(run, data, workdir, **options):
    """Trains or continues a run as launch/train.py does; returns its folder."""
    folder = run_folder(workdir, run.arm, run.seed)
    with open_workdir(folder, run.__dict__):
        train_run(run, data, folder, command="test", **options)
    return folder


def stop_after(steps):
    """A `stop` that says yes after `steps` steps."""
    calls = itertools.count(1)
    return lambda: next(calls) == steps


def train_stopped(run, data, workdir, steps):
    """Trains `steps` steps, then on to the end."""
    with pytest.raises(Stopped):
        train(run, data, workdir, stop=stop_after(steps))
    return train(run, data, workdir)


def lines(folder):
    """metrics.jsonl without the speeds, which no run repeats."""
    content = (folder / "metrics.jsonl").read_text()
    return [
        {key: value for key, value in from_json(line).items() if not key.endswith("_per_second")}
        for line in content.splitlines()
    ]


def assert_same_rows(first, second):
    """Rows and lines of metrics bit for bit, and the same best epoch, whatever stopped one of the two trainings."""
    assert (first / "rows.csv.gz").read_bytes() == (second / "rows.csv.gz").read_bytes()
    assert lines(first) == lines(second)
    metas = [from_json((folder / "meta.json").read_text()) for folder in (first, second)]
    assert metas[0]["best_epoch"] == metas[1]["best_epoch"]


def assert_same_results(first, second):
    """As `assert_same_rows`, and the predictions bit for bit."""
    assert_same_rows(first, second)
    with np.load(first / "predictions.npz") as left, np.load(second / "predictions.npz") as right:
        assert left.files == right.files
        for name in left.files:
            np.testing.assert_array_equal(left[name], right[name], strict=True)


def assert_rows_follow_from_predictions(rows, ages, predictions, train_ages):
    """Rows of one predictor and split against loops over the samples."""
    counts = np.pad(np.bincount(train_ages.astype(int)), (0, 200))
    groups = {"all": np.ones(len(counts), bool), **shot_groups(counts)}
    assert list(rows["shot"]) == list(groups)
    for shot, row in rows.set_index("shot").iterrows():
        member = groups[shot][ages.astype(int)]
        assert row["count"] == member.sum() > 0
        expected = naive_metrics(ages[member], predictions[member])
        found = [row[name] for name in expected]
        np.testing.assert_allclose(found, list(expected.values()), rtol=2e-6, atol=1e-12, err_msg=shot)


def read_rows(folder):
    return pd.read_csv(folder / "rows.csv.gz")


def checkpoint(run, data, folder, which="best"):
    """The state in a checkpoint, as NumPy arrays, and its step."""
    state, step = load_checkpoint(folder, make_engine(run, data), data_mesh(), which)
    return jax.device_get(state), step


def save_torch(path, state):
    """Writes a state as a safetensors file with PyTorch's names and layouts."""
    leaves = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    heads = {"value_head": "linear", "class_head": "linear_cls"}
    entries = {}
    for tree in (state.params["model"], state.batch_stats):
        for (*modules, leaf), array in flatten_dict(tree).items():
            modules = [heads.get(name) or name.replace("_", ".") for name in modules]
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, range(array.ndim))
            entries[".".join([*modules, leaves[leaf]])] = np.ascontiguousarray(array.transpose(*axes))
    safetensors.numpy.save_file(entries, path)
