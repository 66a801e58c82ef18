"""The tasks by name, and from a config to the runs that it asks for."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regcls_jax.config import NAME, check_arms, check_keys, check_name, check_runs, combinations, values
from regcls_jax.loop.age import AGE
from regcls_jax.loop.depth import DEPTH
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.scalar import SCALAR
from regcls_jax.loop.task import Task
from regcls_jax.models.torch_files import TORCH_SUFFIXES
from regcls_jax.store.files import read_json

TASKS: dict[str, Task] = {"age": AGE, "scalar": SCALAR, "depth": DEPTH}
# Of runs that name none, such as those of versions that knew no other.
DEFAULT = "age"
SECTIONS = ("name", "run", "arms", "seeds")
# Fields that are tuples themselves.
TUPLES = ("boundaries",)
# The folder of a work directory that no arm has.
REPORT = "report"


def task_named(name: Any, where: str) -> Task:
    """The task of a name; ValueError, naming `where`, for an unknown one."""
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"{where}: unknown task {name!r}; one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of(run: LoopRun) -> Task:
    """The task of a run."""
    return task_named(run.task, f"arm {run.arm!r}")


def arm_fields(task: Task) -> dict[str, Any]:
    """What an arm of a task may set, every field of a run except its name and seed: field -> declared type."""
    return {field.name: field.type for field in dataclasses.fields(task.run) if field.name not in ("arm", "seed")}


def every_field() -> dict[str, Any]:
    """As `arm_fields`, of all tasks together."""
    return {name: kind for task in TASKS.values() for name, kind in arm_fields(task).items()}


def expand(config: Mapping[str, Any]) -> list[LoopRun]:
    """The runs of a config: `run` the defaults, `arms[name]` what an arm sets, every arm with each of `seeds`.

    An arm whose field lists several values (a tuple) is trained with each, as the arms <name>_<field>_<value>; all are
    its candidates, of which the report of depth takes the one with the lowest validation metric, and that of ages marks
    it. Arms that start from another one come after it.

    Raises:
      ValueError: an unknown key, a value that makes no sense, or a start that cannot be (`arms_before`).
    """
    check_keys("", config, SECTIONS)
    config = {"name": "study", "run": {}, "arms": {}, "seeds": (), **config}
    check_name("a study", config["name"])
    check_arms(config["arms"], every_field())
    if REPORT in config["arms"]:
        raise ValueError(f"an arm cannot be called {REPORT!r}: <workdir>/{REPORT} is the folder of the report")
    check_keys("run.", config["run"], every_field())
    check_keys("run.", config["run"], arm_fields(task_named(config["run"].get("task", DEFAULT), "run")))
    if not isinstance(config["seeds"], tuple | list):
        raise ValueError(f"config key seeds must be a tuple, such as (0, 1, 2), got {config['seeds']!r}")
    runs: list[LoopRun] = []
    for name, arm in itertools.chain.from_iterable(_candidates(*item) for item in config["arms"].items()):
        check_name("an arm", name)
        settings = {**config["run"], **arm}
        task = task_named(settings.get("task", DEFAULT), f"arm {name!r}")
        check_keys(f"arms.{name}.", settings, arm_fields(task))
        if isinstance(settings.get("boundaries"), list):
            settings["boundaries"] = tuple(settings["boundaries"])
        runs.extend(task.run(arm=name, seed=seed, **settings) for seed in config["seeds"])
    starts = {run.arm: run.init_from for run in runs}
    for run in runs:
        if run.candidate_for in starts:
            raise ValueError(f"{run.where}: candidate_for {run.candidate_for!r} is the name of an arm; choose another")
    before = {arm: len(arms_before(arm, starts)) for arm in starts}
    runs.sort(key=lambda run: before[run.arm])
    check_runs(runs)
    return runs


def _candidates(name: str, arm: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The arm itself, or if fields list several values an arm for every combination of them, by name."""
    listed = {field: value for field, value in arm.items() if field not in TUPLES and isinstance(value, tuple | list)}
    if not listed:
        yield name, dict(arm)
        return
    for chosen in combinations({field: values(field, value, ()) for field, value in listed.items()}):
        suffix = "_".join(f"{field}_{value}" for field, value in chosen.items())
        yield f"{name}_{suffix}", {**arm, **chosen, "candidate_for": name}


def arms_before(arm: str, starts: Mapping[str, str]) -> list[str]:
    """The arms of a config that one starts from, directly or not; `starts`: the `init_from` of every arm.

    Raises ValueError where it starts, in the end, from itself, and for a start that is neither the name of an arm (of
    this config or, already trained, of the same workdir) nor a file of PyTorch weights.
    """
    chain = [arm]
    while (start := starts[chain[-1]]) in starts:
        if start in chain:
            raise ValueError(f"arm {arm!r}: init_from goes round in a circle: {' from '.join([*chain, start])}")
        chain.append(start)
    looks_like_file = not NAME.fullmatch(start) or re.fullmatch(r"\.[A-Za-z]\w*", Path(start).suffix)
    if start and looks_like_file and not start.endswith(TORCH_SUFFIXES):
        raise ValueError(
            f"arm {chain[-1]!r}: init_from {start!r} is neither one of the arms ({', '.join(starts)}) nor a file of "
            f"PyTorch weights ({', '.join(TORCH_SUFFIXES)})"
        )
    return chain[1:]


def read_run(folder: Path) -> LoopRun:
    """The run that a folder belongs to. Raises OSError without its config.json, ValueError for one of another kind."""
    path = folder / "config.json"
    content = read_json(path)
    task = task_named(content.get("task", DEFAULT), str(path))
    try:
        return task.run(**{**content, "boundaries": tuple(content["boundaries"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} describes no training of the loop: {error}") from None
