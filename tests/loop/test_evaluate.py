"""All trainings of a config, and testing one of them again."""

import threading

import numpy as np
import pytest
from image_training import SETTINGS, checkpoint, read_rows, save_torch, small_run, train

from regcls_jax.loop.evaluate import evaluate_run, restore
from regcls_jax.loop.predict import predict
from regcls_jax.loop.tasks import read_run
from regcls_jax.loop.trainings import train_all
from regcls_jax.store.workdir import open_workdir

CONFIG = {
    "name": "faces",
    "run": {**SETTINGS, "epochs": 1},
    "arms": {"rrt": {"init_from": "reg", "trainable": "value_head"}, "reg": {}, "cls": {"classes": 4}},
    "seeds": (0,),
}


pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def study(prepared_faces, tmp_path_factory):
    """A workdir with three trained arms, of which the first in the config starts from the second."""
    workdir = tmp_path_factory.mktemp("study")
    done = train_all(CONFIG, workdir, prepared_faces, command="test")
    assert done.startswith("3 trainings: 3 trained now.")
    return workdir


def test_finished_runs_are_passed_over(study, prepared_faces):
    done = train_all(CONFIG, study, prepared_faces, command="again")
    assert done.startswith("3 trainings: 3 finished before.")


def test_a_run_of_another_process_is_left_to_it(study, prepared_faces, tmp_path):
    config = {**CONFIG, "arms": {"reg": {}, "cls": {"classes": 4}}}
    folder = tmp_path / "reg" / "seed0"
    locked, done = threading.Event(), threading.Event()

    def other_process():
        with open_workdir(folder, {}):
            (folder / "config.json").unlink()
            locked.set()
            done.wait()

    other = threading.Thread(target=other_process)
    other.start()
    locked.wait()
    try:
        said = train_all(config, tmp_path, prepared_faces, command="test")
    finally:
        done.set()
        other.join()
    assert said.startswith("2 trainings: 1 trained now, 1 left to another process.")
    assert {path.name for path in folder.iterdir()} <= {".lock"}, "nothing of it was touched"
    assert (tmp_path / "cls" / "seed0" / "rows.csv.gz").exists()


def test_wrong_input_is_named(prepared_faces, tmp_path):
    config = {**CONFIG, "arms": {"reg": {}}}
    with pytest.raises(OSError, match="utkface is not prepared in .*; prepare it: python launch/prepare.py --dataset="):
        train_all(config, tmp_path / "work", tmp_path, command="test")
    with pytest.raises(ValueError, match="unknown data set 'faces'; one of utkface"):
        train_all({**config, "run": {"dataset": "faces"}}, tmp_path / "work", prepared_faces, command="test")
    assert not (tmp_path / "work").exists()
    for start, message in (
        ("reg", r"arm 'rrt': init_from 'reg' is no arm of this config and not trained in .*; train arm 'reg' first"),
        ("rtr", r"arm 'rrt': init_from 'rtr' is no arm of this config .*; did you mean rrt\?"),
        ("none.pth", "arm 'rrt': there is no file none.pth, which init_from names. ImageNet weights are not"),
    ):
        arms = {"rrt": {**CONFIG["arms"]["rrt"], "init_from": start}}
        with pytest.raises(ValueError, match=message):
            train_all({**CONFIG, "arms": arms}, tmp_path / "work", prepared_faces, command="test")
    assert not (tmp_path / "work").exists(), "a mistake leaves nothing behind"
    (tmp_path / "reg" / "seed0").mkdir(parents=True)
    with pytest.raises(OSError, match=r"arm 'rrt' starts from arm 'reg' with seed 0, which is not trained in "):
        train_all({**CONFIG, "arms": {"rrt": CONFIG["arms"]["rrt"]}}, tmp_path, prepared_faces, command="test")


@pytest.mark.parametrize(("arm", "split"), [("reg", "train"), ("cls", "test")])
def test_weights_in_a_file_are_tested_as_the_run_is(study, faces, tmp_path, arm, split):
    """The class head in the file serves training only."""
    folder = study / arm / "seed0"
    run = read_run(folder)
    path = tmp_path / "weights.safetensors"
    save_torch(path, checkpoint(run, faces, folder)[0])
    rows, found, *_ = evaluate_run(run, faces, split, folder)
    assert len(found.kept) == len(faces.splits[split].targets)
    weights_rows, weights_found, *_ = evaluate_run(run, faces, split, path)
    np.testing.assert_array_equal(weights_found.kept, found.kept)
    numbers = ["mae", "mse", "rmse", "gm", "bmae", "count"]
    of_model = [table[table["arm"] == arm][numbers].to_numpy() for table in (rows, weights_rows)]
    np.testing.assert_array_equal(*of_model)
    if split != "train":
        stored = read_rows(folder)
        stored = stored[(stored["arm"] == arm) & (stored["split"] == split)]
        np.testing.assert_allclose(of_model[0], stored[numbers].to_numpy(), rtol=1e-12)


def test_predictions_batch_by_batch_are_those_of_the_evaluation(study, faces):
    folder = study / "cls" / "seed0"
    run = read_run(folder)
    engine, state = restore(run, faces, folder)
    rows, values = zip(*predict(engine, state, faces.splits["test"]), strict=True)
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(48))
    np.testing.assert_array_equal(np.concatenate(values), evaluate_run(run, faces, "test", folder)[1].kept)
    with pytest.raises(OSError, match="cls/seed0 was trained on other data than utkface is now"):
        restore(run, faces._replace(digest="another"), folder)


def test_folders_that_hold_no_run_are_named(study, faces, tmp_path):
    with pytest.raises(OSError, match=r"config\.json"):
        read_run(tmp_path)
    (tmp_path / "config.json").write_text('{"boundaries": [], "layers": 3}')
    with pytest.raises(ValueError, match=r"config\.json describes no training of the loop: .*layers"):
        read_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json describes no training of the loop"):
        read_run(tmp_path)
    with pytest.raises(OSError, match="is of another network"):
        evaluate_run(small_run(width=8), faces, "test", study / "reg" / "seed0")


def test_a_damaged_checkpoint_is_named(faces, tmp_path):
    run = small_run(epochs=1)
    folder = train(run, faces, tmp_path)
    (folder / "rows.csv.gz").unlink()
    for path in (folder / "checkpoints").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(OSError, match=r"checkpoints/9 cannot be restored"):
        train(run, faces, tmp_path)
