"""The benchmark of accelerators: what its workers answer, what passes, and that it stops in time."""

import math
import time

import pytest


def test_a_worker_trains_steps_and_small_models(small_network):
    import accelerator_worker
    from accelerator_checks import IMAGE

    found = accelerator_worker.answer("steps", kind="image", run=IMAGE, count=2)
    assert len(found["losses"]) == len(found["seconds"]) + 1 == 3
    assert found["losses"][2] < found["losses"][0], "on one and the same batch"
    assert found["peak_bytes"] is None, "a CPU does not say"
    found = accelerator_worker.answer("trainings", samples=256, classes=0, calls=2)
    assert found["trainings"] == 4 * found["chunk"]
    assert min(found["seconds"]) > 0


class Canned:
    """A worker whose losses are those of its device."""

    def __init__(self, JAX_PLATFORMS="gpu", **environment):
        self._losses = {"cpu": {"float32": [2.0, 1.0]}, "gpu": {"float32": [2.0, 1.001], "bfloat16": [2.02, math.nan]}}
        self._losses = self._losses[JAX_PLATFORMS]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, run, **_):
        assert run["batch_size"] % 8 == 0
        return {"losses": self._losses[run.get("dtype", "float32")]}


def test_near_losses_pass_and_what_is_not_finite_does_not():
    from accelerator_checks import RUNS, step_checks

    near, not_finite, *others = step_checks(Canned, 8, {})
    assert near["passed"]
    assert near["found"] == pytest.approx(0.001)
    assert not not_finite["passed"]
    assert len(others) == 2 * len(RUNS) - 2


def test_stages_that_fail_or_take_too_long_do_not_lose_the_others():
    import accelerator
    from accelerator_checks import check

    def fails():
        yield check("good", 0.0, 0.1)
        raise OSError("out of memory")

    def slow():
        yield {"measured": "few classes", "unit": "trainings/min", "rate": {"median": 9.0, "low": 8.0, "high": 10.0}}
        time.sleep(60)

    todo = {"a": ("checks", fails), "b": ("rates", slow), "c": ("rates", slow)}
    found = accelerator.work_through(todo, 0.5)
    assert [record["passed"] for record in found["checks"]] == [True, False]
    assert found["unfinished"] == ["b", "c"]
    facts = {
        "device": {"line": "1 abacus", "platform": "cpu"},
        "command": "x",
        "machine": "m",
        "versions": {"jax": "1"},
    }
    page = accelerator.page({**found, **facts, "seconds": 1.0, "others_share": 0.5})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert ["a: out of memory", "nan", "0", "NO"] in lines
    assert ["few classes", "9.0 (8.0–10.0)", "trainings/min", "", "", ""] in lines
    assert "Not finished in time: b; c." in page
    assert "it is compared with itself" in page
