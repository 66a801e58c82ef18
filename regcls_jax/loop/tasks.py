"""The tasks by name, and from a config to the runs that it asks for."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regcls_jax.config import check_arms, check_keys, check_runs
from regcls_jax.loop.age import AGE
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.scalar import SCALAR
from regcls_jax.loop.task import Task
from regcls_jax.store.files import read_json

TASKS: dict[str, Task] = {"age": AGE, "scalar": SCALAR}
# Of runs that name none, such as those of versions that knew no other.
DEFAULT = "age"


def task_named(name: str, where: str) -> Task:
    """The task of a name; ValueError, naming `where`, for an unknown one."""
    if name not in TASKS:
        raise ValueError(f"{where}: unknown task {name!r}; one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of(run: LoopRun) -> Task:
    """The task of a run."""
    return task_named(run.task, f"arm {run.arm!r}")


def arm_fields(task: Task) -> tuple[str, ...]:
    """What an arm of a task may set: every field of a run that is not its name or its repetition."""
    return tuple(field.name for field in dataclasses.fields(task.run) if field.name not in ("arm", "seed"))


def expand(config: Mapping[str, Any]) -> list[LoopRun]:
    """The runs of a config: `run` the defaults, `arms[name]` what an arm sets, every arm with each of `seeds`.

    Arms that start from another one come last. ValueError for an unknown key or a value that makes no sense.
    """
    check_keys("", config, ("name", "run", "arms", "seeds"))
    config = {"run": {}, "arms": {}, "seeds": (), **config}
    check_keys("run.", config["run"], arm_fields(task_named(config["run"].get("task", DEFAULT), "run")))
    runs = []
    for name, arm in config["arms"].items():
        settings = {**config["run"], **arm}
        task = task_named(settings.get("task", DEFAULT), f"arm {name!r}")
        check_arms({name: settings}, arm_fields(task))
        if isinstance(settings.get("boundaries"), list):
            settings["boundaries"] = tuple(settings["boundaries"])
        runs.extend(task.run(arm=name, seed=seed, **settings) for seed in config["seeds"])
    runs.sort(key=lambda run: run.init_from in config["arms"])
    check_runs(runs)
    return runs


def read_run(folder: Path) -> LoopRun:
    """The run that a folder belongs to. Raises OSError without its config.json, ValueError for one of another kind."""
    path = folder / "config.json"
    content = read_json(path)
    task = task_named(content.get("task", DEFAULT), str(path))
    try:
        return task.run(**{**content, "boundaries": tuple(content["boundaries"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} describes no training of the loop: {error}") from None
