"""Expands the sections of a config into the settings of each training: keys, arms, tuples of values, budgets.

Nothing here imports JAX, so that a wrong key is reported before anything slow starts.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcls_jax.trivial import TRIVIAL_PREDICTORS


def check_variant(file: str, variant: str, known: Collection[str]) -> None:
    """Raises ValueError unless `variant` is among the `known` ones of a config; `file` is the config's `__file__`."""
    if variant not in known:
        raise ValueError(f"unknown variant {variant!r} of configs/{Path(file).name}; one of {', '.join(known)}")


def check_keys(section: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises ValueError that names the first key of a config's `section` ("run.") that is not `known`."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown config key {section}{unknown[0]!r}; known: {', '.join(known)}")


def check_arms(arms: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> None:
    """Raises ValueError for an arm with a reserved name or a field that is not `known`."""
    for name, arm in arms.items():
        if name in TRIVIAL_PREDICTORS:
            raise ValueError(f"an arm cannot be called {name!r}: that is a trivial predictor")
        check_keys(f"arms.{name}.", arm, known)


def values(field: str, value: Any, tuples: Collection[str]) -> tuple[Any, ...]:
    """The values to try for a field: a tuple or list holds several.

    A field named in `tuples` is itself a tuple, such as `hidden` (layer widths); several values are a tuple of tuples.
    """
    several = isinstance(value, tuple | list)
    if field in tuples:
        if not several:
            raise ValueError(f"{field} must be a tuple, such as (6, 15), got {value!r}")
        return tuple(map(tuple, value)) if value and isinstance(value[0], tuple | list) else (tuple(value),)
    return tuple(value) if several else (value,)


def combinations(settings: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the fields' values, the last field varying fastest."""
    return (dict(zip(settings, chosen, strict=True)) for chosen in itertools.product(*settings.values()))


def draw_combinations(
    name: str, settings: Mapping[str, Sequence[Any]], budget: int, seed_text: str
) -> Iterator[dict[str, Any]]:
    """Yields `budget` distinct combinations of an arm's values, drawn at random.

    The draw depends on `seed_text` and the arm's values, not on the order of its fields; a smaller budget gives the
    first combinations of a larger one. Raises ValueError for an arm with fewer combinations than the budget, because
    the arms would then not have equal budgets.
    """
    for field, listed in settings.items():
        if any(listed.count(value) > 1 for value in listed):
            raise ValueError(f"arm {name!r}: {field} lists a value twice, so the same training could be drawn twice")
    fields = sorted(settings)
    sizes = [len(settings[field]) for field in fields]
    if (several := math.prod(sizes)) < budget:
        raise ValueError(f"arm {name!r} has {several} combinations, fewer than the budget of {budget}")
    # Seeded with the text itself: Python's hash() differs from process to process.
    generator = np.random.default_rng(list(seed_text.encode()))
    drawn: set[int] = set()
    while len(drawn) < budget:
        number = int(generator.integers(several))
        if number not in drawn:
            drawn.add(number)
            # Unravelled one at a time, so that a large product is never held in memory.
            places = map(int, np.unravel_index(number, sizes))
            yield {field: settings[field][place] for field, place in zip(fields, places, strict=True)}


def check_runs(runs: Sequence[Any]) -> None:
    """Raises ValueError for a config that asks for no training, or for the same training twice."""
    if not runs:
        raise ValueError("the config asks for no training: a list under `data`, `arms` or `seeds` is empty")
    seen: set[Any] = set()
    for run in runs:
        if run in seen:
            raise ValueError(f"arm {run.arm!r} asks for the same training twice")
        seen.add(run)
