"""Every file that a preparation, a study or a training leaves, damaged: the same numbers, or one line that names it."""

import shutil

import jax
import numpy as np
import pytest
from image_training import small_run, train
from study_config import small

from regcls_jax.data.images.splits import findings, load_images
from regcls_jax.loop.mesh import data_mesh
from regcls_jax.loop.start import load_checkpoint
from regcls_jax.loop.steps import make_engine
from regcls_jax.loop.tasks import read_run
from regcls_jax.report.build import build
from regcls_jax.store.files import from_json
from regcls_jax.study.engine import run_study

pytestmark = pytest.mark.usefixtures("small_network")


def report_of(folder):
    made = build(folder, figures=False)
    return made.rows.to_csv(), [table.frame.to_csv() for table in made.tables], made.remarks


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    config = small(name="theory", data={"samplings": ("severe",)}, run={"trace": "mse", "epochs": 1})
    config["arms"] = {"reg_cls": {"classes": 4}}
    run_study(config, folder / "work", folder / "cache", command="test")

    def numbers():
        run_study(config, folder / "work", folder / "cache", command="test")  # trains what is missing
        return report_of(folder / "work")

    return folder, numbers


@pytest.fixture(scope="module")
def training(tmp_path_factory, faces):
    workdir = tmp_path_factory.mktemp("training")
    folder = train(small_run(classes=4, epochs=1), faces, workdir)
    # What a copied folder was trained on.
    assert from_json((folder / "meta.json").read_text())["digest"] == faces.digest

    engine = make_engine(read_run(folder), faces)

    def numbers():
        state, step = load_checkpoint(folder, engine, data_mesh(), "best", faces)
        weights = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
        return report_of(workdir), read_run(folder), step, weights

    return workdir, numbers


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, prepared_faces):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(prepared_faces, folder)

    def numbers():
        data = load_images("utkface", folder)
        read = {name: split.images.read(range(len(split.names))) for name, split in data.splits.items()}
        return data.digest, data.target, data.unit, read, findings("utkface", folder)

    return folder, numbers


# What these numbers do not come from: an earlier report, TensorBoard's copy of metrics.jsonl, locks, the notes of TFDS
# and of a preparation's checks; and the cache of 1-D data, which data/synthetic/test_cache.py damages.
UNREAD = ("report", "tensorboard", ".lock", "dataset_info.json", "features.json", "checks", "cache")


def damages(content, rng):
    """By name: a bit flipped or the end cut off, by chance; and all of it gone."""
    flipped = bytearray(content)
    if content:
        flipped[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    some = {"flipped": bytes(flipped), "cut": content[: int(rng.integers(len(content) + 1)) // 2]}
    name = str(rng.choice([*some]))
    return {name: some[name], "missing": None}


@pytest.mark.parametrize("left", ["study", "training", "prepared"])
def test_no_damage_gives_other_numbers_or_a_traceback(left, request):
    folder, numbers = request.getfixturevalue(left)
    expected, rng = numbers(), np.random.default_rng(7)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not {*path.parts} & {*UNREAD}]
    assert len(files) > 3
    wrong, found = [], 0
    for path in files:
        content = path.read_bytes()
        for name, damaged in damages(content, rng).items():
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            about = f"{path.relative_to(folder)} {name}"
            try:
                if numbers() != expected:
                    wrong.append(f"{about}: other numbers without a word")
            except (OSError, ValueError) as error:
                found += 1
                if str(folder) not in str(error):
                    wrong.append(f"{about}: names no file: {error}")
            except Exception as error:  # each is a defect that is to be listed
                wrong.append(f"{about}: {type(error).__name__}: {error}")
            finally:
                path.write_bytes(content)
    assert not wrong, "\n".join(wrong)
    assert found > len(files) / 2
    assert numbers() == expected
