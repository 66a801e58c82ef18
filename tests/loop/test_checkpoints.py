"""Checkpoints on their own: which are kept, and what cannot be restored."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from regcls_jax.loop.checkpoints import Checkpoints
from regcls_jax.loop.mesh import data_mesh, replicated


def state_of(value):
    state = {"weights": np.full((3, 4), value, np.float32), "step": np.int32(value)}
    return jax.device_put(state, replicated(data_mesh()))


def template():
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state_of(0))


def save_all(folder, selected):
    """One checkpoint per step from 1 on, with its metric or None; returns the steps that are left."""
    checkpoints = Checkpoints(folder)
    for step, metric in enumerate(selected, 1):
        checkpoints.save(step, state_of(step), {"next": step}, metric)
    checkpoints.close()
    return steps_in(folder)


def steps_in(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("selected", "best", "kept"),
    [
        ([3.0], 1, [1]),
        ([3.0, 2.0, 1.0], 3, [3]),
        ([3.0, 1.0, 2.0, 4.0], 2, [2, 4]),
        ([2.0, 1.0, 1.0], 2, [2, 3]),  # the first of equals
        ([2.0, None, None], 1, [1, 3]),  # those in mid-epoch have no metric
        ([None, None], None, [2]),
        ([5.0, 0.0, 3.0], 2, [2, 3]),  # a metric of 0 is one
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, selected, best, kept):
    assert save_all(tmp_path, selected) == kept
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert (checkpoints.newest, checkpoints.best) == (len(selected), best)
    for step in kept:
        state, position = checkpoints.restore(step, template())
        assert position == {"next": step}
        assert state["weights"].sharding == replicated(data_mesh())
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(state_of(step)))
    checkpoints.close()


def test_a_second_selection_keeps_its_own_best(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step, metrics in enumerate([(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (None, None), (4.0, 4.0)], 1):
        checkpoints.save(step, state_of(step), {}, *metrics)
    checkpoints.close()
    assert steps_in(tmp_path) == [1, 2, 5]
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert (checkpoints.newest, checkpoints.best, checkpoints.also_best) == (5, 2, 1)
    assert checkpoints.restore(1, template())[1] == {}
    checkpoints.close()


def test_a_kill_while_a_checkpoint_is_removed_leaves_the_others_whole(tmp_path, monkeypatch):
    """Whatever removes a folder, it is stopped after its first file, as by a kill."""
    whole = shutil.rmtree

    def killed(path, *arguments, **options):
        next(file for file in Path(path).rglob("*") if file.is_file()).unlink()
        raise RuntimeError("killed")

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(OSError, match="killed"):
        save_all(tmp_path, [3.0, 2.0])
    monkeypatch.setattr(shutil, "rmtree", whole)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest in (1, 2)  # the second, unless it was never reached
    assert checkpoints.best == checkpoints.newest
    assert checkpoints.restore(checkpoints.newest, template())[1] == {"next": checkpoints.newest}
    checkpoints.close()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [str(checkpoints.newest)]


def test_what_is_best_is_remembered_by_the_next_process(tmp_path):
    save_all(tmp_path, [2.0, 1.0])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state_of(3), {}, 1.5)
    checkpoints.save(4, state_of(4), {}, None)
    checkpoints.wait()
    assert (checkpoints.newest, checkpoints.best) == (4, 2)
    checkpoints.close()
    assert steps_in(tmp_path) == [2, 4]


def test_an_empty_folder(tmp_path):
    with pytest.raises(OSError, match=r"checkpoints: there is no checkpoint; train the run first"):
        Checkpoints(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    checkpoints = Checkpoints(tmp_path)
    assert (checkpoints.newest, checkpoints.best) == (None, None)
    checkpoints.close()


def test_a_checkpoint_that_was_being_written_does_not_count(tmp_path):
    """As a killed process leaves it: under its temporary name."""
    save_all(tmp_path, [2.0])
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "1", folder / "2.orbax-checkpoint-tmp")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest == 1
    checkpoints.close()


def truncate_array(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[:10])


def remove_state(folder):
    shutil.rmtree(folder / "state")


def remove_position(folder):
    shutil.rmtree(folder / "position")


def spoil_position(folder):
    for path in (folder / "position").rglob("*"):
        if path.is_file():
            path.write_text("{")


@pytest.mark.parametrize("damage", [truncate_array, remove_state, remove_position, spoil_position])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    save_all(tmp_path, [2.0])
    damage(tmp_path / "checkpoints" / "1")
    with pytest.raises(OSError, match="checkpoints/1 cannot be restored"):
        Checkpoints(tmp_path).restore(1, template())


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    save_all(tmp_path, [2.0])
    checkpoints = Checkpoints(tmp_path)
    wrong = {**template(), "weights": jax.ShapeDtypeStruct((3, 5), np.float32, sharding=replicated(data_mesh()))}
    for other in (wrong, {"weights": template()["weights"]}):
        with pytest.raises(OSError, match="checkpoints/1 is of another network"):
            checkpoints.restore(1, other)
    checkpoints.close()


def test_no_damage_of_a_checkpoint_restores_other_values(tmp_path):
    """One bit flipped, or the rest cut off, anywhere in any file."""
    save_all(tmp_path / "whole", [2.0, 1.0, 3.0])
    files = sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file())
    rng, refused = np.random.default_rng(0), []
    for number in range(40):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        path = folder / files[number % len(files)].relative_to(tmp_path / "whole")
        content = bytearray(path.read_bytes())
        if content and number % 3:
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content if number % 3 else content[: len(content) // 2])
        try:
            checkpoints = Checkpoints(folder)
            state, position = checkpoints.restore(checkpoints.best, template())
            checkpoints.close()
        except OSError as error:
            refused.append(str(error))
        else:
            assert position == {"next": 2}
            jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(state_of(2)))
    assert len(refused) > 5
    assert all(len(line.splitlines()) == 1 and "remove that folder" in line for line in refused)


def test_a_full_disk_is_one_line_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state_of(1), {}, None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30 - 1, 1))
    with pytest.raises(OSError, match=r"checkpoints: no checkpoint can be written: the disk has 0 MiB free.*goes on"):
        checkpoints.save(2, state_of(2), {}, None)
    checkpoints.close()
    assert steps_in(tmp_path) == [1]


def test_what_fails_in_the_background_names_the_folder(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)

    def refused():
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device\nand more")

    monkeypatch.setattr(checkpoints._manager, "wait_until_finished", refused)
    with pytest.raises(OSError, match=r"checkpoints: .*No space left on device; once that is mended"):
        checkpoints.wait()


def test_a_checkpoint_of_another_network_is_refused_and_no_one_is_told_to_remove_it(tmp_path):
    save_all(tmp_path, [1.0])
    checkpoints = Checkpoints(tmp_path, read_only=True)
    narrower = {**template(), "weights": jax.ShapeDtypeStruct((3, 2), np.float32)}
    with pytest.raises(OSError, match=r"checkpoints/1 is of another network") as caught:
        checkpoints.restore(1, narrower)
    assert "remove" not in str(caught.value)
    checkpoints.close()
