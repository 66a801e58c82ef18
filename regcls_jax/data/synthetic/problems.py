"""The 1-D data sets as problems of the study engine: trained on their own sampling, tested on the uniform one."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regcls_jax import binning
from regcls_jax.checks import check_integer
from regcls_jax.config import check_keys
from regcls_jax.data.ranges import ranges
from regcls_jax.data.source import Groups, Problem, Source
from regcls_jax.data.synthetic import cache
from regcls_jax.data.synthetic.generator import Dataset
from regcls_jax.data.synthetic.spec import SAMPLINGS, SCENARIOS, DataSpec
from regcls_jax.metrics.shots import SHOTS

# Data sets kept in memory (1 MB each): what one part reads, and the uniform sampling that several are tested on.
MEMORY = 256
DATA_FIELDS = {
    "scenarios": SCENARIOS,
    "samplings": SAMPLINGS,
    "functions": 10,
    "repetitions": 5,
    "noise": (0.1,),
    "noise_kind": "gaussian",
    "total": 60_000,
    "peak_share": None,
    "by_shots": False,
}


def data_specs(data: Mapping[str, Any]) -> list[DataSpec]:
    """Every data set of a study, from the config section `data` (keys and defaults: DATA_FIELDS).

    Scenario "noisy" appears once per value of `noise`, the others once.
    """
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    for name in ("scenarios", "samplings", "noise"):
        if not isinstance(data[name], tuple | list):
            raise ValueError(f"data.{name} must be a tuple, got {data[name]!r}")
    for name in ("functions", "repetitions"):
        check_integer(f"data.{name}", data[name], 1)
    if not isinstance(data["by_shots"], bool):
        raise ValueError(f"data.by_shots must be True or False, got {data['by_shots']!r}")
    same = {name: data[name] for name in ("noise_kind", "total", "peak_share", "by_shots")}
    return [
        DataSpec(scenario, sampling, function, repetition, noise=noise, **same)
        for scenario, sampling in itertools.product(data["scenarios"], data["samplings"])
        for noise in (data["noise"] if scenario == "noisy" else (0.0,))
        for function, repetition in itertools.product(range(data["functions"]), range(data["repetitions"]))
    ]


def ensure(specs: Sequence[DataSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Makes the data sets, and the uniform samplings they are tested on, that are not in the cache yet."""
    cache.ensure([*specs, *map(uniform_spec, specs)], cache_dir, progress=progress)


_read_set = functools.lru_cache(maxsize=MEMORY)(cache.read)


@functools.lru_cache(maxsize=MEMORY)
def _grouped(spec: DataSpec, folder: str) -> Problem:
    problem = assemble(_read_set(spec, folder), _read_set(uniform_spec(spec), folder))
    edges, shots = ranges(problem.train_targets)
    of = np.asarray(shots[binning.assign(problem.targets, edges)], np.int32)
    return problem._replace(groups=Groups(of, SHOTS))


def read(spec: DataSpec, cache_dir: str | os.PathLike) -> Problem:
    """The problem of `spec`: its training set; tested on the test set of the *uniform* sampling.

    `val` follows the sampling under study, `val_balanced` is the validation set of the uniform sampling of the same
    scenario, function and repetition: the two ways of choosing a hyperparameter.
    """
    folder = os.fspath(cache_dir)
    if spec.by_shots:
        return _grouped(spec, folder)
    return assemble(_read_set(spec, folder), _read_set(uniform_spec(spec), folder))


def assemble(own: Dataset, uniform: Dataset) -> Problem:
    """The problem of a data set and of the uniform sampling beside it."""
    parts = {"train": own.train, "val": own.val, "val_balanced": uniform.val, "test": uniform.test}
    ends = np.cumsum([0, *(len(part.y) for part in parts.values())])
    splits = {
        name: np.arange(start, end, dtype=np.int32) for name, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
    }
    inputs, targets = (np.concatenate(columns) for columns in zip(*parts.values(), strict=True))
    return Problem(inputs, targets, splits)


def uniform_spec(spec: DataSpec) -> DataSpec:
    """The uniform sampling of the same scenario, function and repetition."""
    return dataclasses.replace(spec, sampling="uniform")


SOURCE = Source(data_specs, ensure, read, SCENARIOS)
