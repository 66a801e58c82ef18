"""Expands the sections of a config into the settings of each training: keys, arms, tuples of values, budgets.

Nothing here imports JAX, so that a wrong key is reported before anything slow starts.
"""

import difflib
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcls_jax.trivial import TRIVIAL_PREDICTORS

# Names of arms and studies become names of folders and parts of tables.
NAME = re.compile(r"[\w+-]([\w+. -]*[\w+.-])?")
LONGEST_NAME = 100


class UnknownVariant(ValueError):
    """A config file has no variant of this name."""


def check_variant(file: str, variant: str, known: Collection[str]) -> None:
    """Raises UnknownVariant unless `variant` is `known` to a config; `file` is the config's `__file__`."""
    if variant not in known:
        raise UnknownVariant(f"unknown variant {variant!r} of configs/{Path(file).name}; one of {', '.join(known)}")


def check_keys(section: str, given: Any, known: Collection[str]) -> None:
    """Checks that a section of a config ("run.", "" for the config itself) holds known keys.

    Raises:
      ValueError: it is no section; or naming its first unknown key and the known ones that are near.
    """
    if not isinstance(given, Mapping):
        where = f"config key {section.removesuffix('.')}" if section else "a config"
        raise ValueError(f"{where} must be a section, such as {{'epochs': 3}}, got {given!r}")
    if unknown := sorted(set(given) - set(known), key=str):
        near = difflib.get_close_matches(str(unknown[0]), known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"unknown config key {section}{unknown[0]!r}; {hint}")


def check_name(what: str, name: Any) -> None:
    """Raises ValueError for a name of `what` ("an arm") that cannot be that of a folder."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ValueError(
            f"{what} cannot be called {name!r}: a name is text of letters, digits, _ - + and, not at its start, dots "
            f"and spaces, at most {LONGEST_NAME}"
        )


def check_arms(arms: Any, known: Collection[str]) -> None:
    """Raises ValueError for an arm whose name is reserved or cannot be a folder's, or with a field not `known`."""
    if not isinstance(arms, Mapping):
        raise ValueError(f"config key arms must be a section of arms, such as {{'reg': {{}}}}, got {arms!r}")
    for name, arm in arms.items():
        check_name("an arm", name)
        if name in TRIVIAL_PREDICTORS:
            raise ValueError(f"an arm cannot be called {name!r}: that is a trivial predictor")
        check_keys(f"arms.{name}.", arm, known)


def values(field: str, value: Any, tuples: Collection[str]) -> tuple[Any, ...]:
    """The values to try for a field: a tuple or list holds several.

    A field named in `tuples` is itself a tuple, such as `hidden` (layer widths); several values are a tuple of tuples.
    Raises ValueError for such a field that is none, and for one that lists no value.
    """
    several = isinstance(value, tuple | list)
    if field in tuples:
        if not several:
            raise ValueError(f"{field} must be a tuple, such as (6, 15), got {value!r}")
        nested = [isinstance(each, tuple | list) for each in value]
        if any(nested) and not all(nested):
            raise ValueError(f"{field} must be a tuple of numbers, or of such tuples, got {value!r}")
        return tuple(map(tuple, value)) if any(nested) else (tuple(value),)
    if several and not value:
        raise ValueError(f"{field} lists no value to try")
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
