"""Images of a user's own from the table to predictions, each step a program as a user starts it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from image_training import four_layers_launched
from own_images import picture, write_houses
from paths import LAUNCH, ROOT

from regcls_jax.store.files import from_json

CONFIG = "configs/own_images.py"
# As small as it gets: what is tested is the way, not the network.
SMALL = [f"--config.run.{field}" for field in ("image_size=16", "padding=2", "width=4", "epochs=3", "batch_size=16")]
NEW_PRICES = [-50.0, -20.0, 10.0, 40.0]

RUNNING = "Running on 1 CPU device (chosen by --platform or JAX_PLATFORMS)\n"


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Starts a program that must end well, on one data folder; returns its output."""
    folder = tmp_path_factory.mktemp("own")
    environment = four_layers_launched()

    def run(program, *arguments, fails=False):
        command = [sys.executable, LAUNCH / program, f"--data_dir={folder}/data", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == fails, done.stderr[-3000:]
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture(scope="module")
def trained(launch, tmp_path_factory):
    """A workdir with `reg` and `reg_cls_100` on houses."""
    folder = tmp_path_factory.mktemp("houses")
    write_houses(folder, 160)
    table = [f"--table={folder}/houses.csv", f"--images={folder}/photos", "--path_column=photo"]
    said = launch("prepare.py", *table, "--target=price", "--unit=kEUR", "--name=houses")
    assert "houses: 160 images: " in said
    runs = folder / "runs"
    train = [f"--config={CONFIG}:runlocal", "--config.run.dataset=houses", *SMALL, f"--workdir={runs}"]
    assert launch("train.py", *train).startswith(f"{RUNNING}2 trainings: 2 trained now.")
    return runs


def test_a_run_knows_its_data_and_is_judged_over_the_targets_range(trained):
    for arm in ("reg", "reg_cls_100"):
        folder = trained / arm / "seed0"
        meta = from_json((folder / "meta.json").read_text())
        assert (meta["dataset"], meta["target"], meta["unit"]) == ("houses", "price", "kEUR")
        rows = pd.read_csv(folder / "rows.csv.gz")
        assert list(rows["arm"].unique()) == [arm, "constant", "median", "oracle_bin_100"]
        with np.load(folder / "predictions.npz") as stored:
            edges, counts = stored["bucket_edges"], stored["train_counts"]
            target, prediction = stored["test_target"], stored["test_prediction"]
            held_out = len(stored["val_target"]) + len(target)
        assert (len(edges), len(counts), counts.sum()) == (51, 50, 160 - held_out)
        assert target.min() < 0
        mae = rows[(rows["split"] == "test") & (rows["shot"] == "all")].set_index("arm")["mae"]
        assert mae[arm] == pytest.approx(np.abs(target - prediction).mean(), rel=1e-5)
        # A class is a hundredth of the range, and an oracle knows it.
        assert mae["oracle_bin_100"] < (edges[-1] - edges[0]) / 50
        assert mae["median"] > 5


def test_predictions_of_new_images(launch, trained, tmp_path):
    generator = np.random.default_rng(8)
    (tmp_path / "new").mkdir()
    for number, price in enumerate(NEW_PRICES):
        (tmp_path / "new" / f"{number}.png").write_bytes(picture(price, generator))
    (tmp_path / "new" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    arguments = [f"--run={trained}/reg/seed0", f"--images={tmp_path}/new", f"--out={tmp_path}/found.csv"]
    said = launch("predict.py", *arguments)
    assert said.startswith(
        f"{RUNNING}4 predictions of reg (seed 0): {tmp_path}/found.csv\n1 images cannot be used: broken.jpg ("
    )
    found = pd.read_csv(tmp_path / "found.csv")
    assert list(found.columns) == ["name", "price (kEUR)"]
    assert found["name"].tolist() == [f"{number}.png" for number in range(4)]
    assert np.isfinite(found["price (kEUR)"]).all()
    assert found["price (kEUR)"].nunique() == 4


def test_what_cannot_be_predicted_is_one_line(launch, trained, tmp_path):
    for arguments, message in (
        ([f"--run={tmp_path}", f"--images={tmp_path}"], f"error: {tmp_path}/config.json is not a readable JSON file"),
        ([f"--run={trained}/reg/seed0", f"--images={tmp_path}"], f"error: {tmp_path} holds no image that can be used"),
        ([f"--run={trained}/reg/seed0", f"--images={tmp_path}/none"], f"error: there is no image folder {tmp_path}/no"),
    ):
        errors = launch("predict.py", *arguments, fails=True)
        assert errors.splitlines()[-1].startswith(message)
        assert "Traceback" not in errors
