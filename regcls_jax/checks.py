"""Checks of single values, with clear error messages, and dataclass fields that declare their check."""

import dataclasses
import functools
import math
import numbers
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard


def check_integer(name: str, value: object, least: int) -> None:
    """Raises ValueError unless value is an integer of at least `least`."""
    # A study has thousands of runs of sixty fields: isinstance() of an abstract class is slow.
    if type(value) is int and value >= least:
        return
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")


def check_share(name: str, value: object) -> None:
    """Raises ValueError unless value is a real number strictly between 0 and 1."""
    if not (is_real(value) and 0 < value < 1):
        raise ValueError(f"{name} must be a share between 0 and 1, got {value!r}")


def first_line(error: Exception) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def is_real(value: object) -> TypeGuard[float]:
    """Whether value is a real number (not a bool)."""
    return type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def whole(default: int, least: int) -> Any:
    """A dataclass field: an integer of at least `least`."""
    return dataclasses.field(default=default, metadata={"least": least})


def positive(default: float) -> Any:
    """A dataclass field: a finite number above 0."""
    return dataclasses.field(default=default, metadata={"positive": True})


def not_negative(default: float) -> Any:
    """A dataclass field: a finite number of at least 0."""
    return dataclasses.field(default=default, metadata={"positive": False})


def choice(default: Any, known: Iterable[Any]) -> Any:
    """A dataclass field: one of the `known` values."""
    return dataclasses.field(default=default, metadata={"known": tuple(known)})


class _Check(NamedTuple):
    """How one field is checked; see `whole`, `positive`, `not_negative`, `choice`."""

    name: str
    type: Any
    known: tuple[Any, ...] | None
    positive: bool | None
    least: int | None


@functools.cache
def _checks(described: type) -> tuple[_Check, ...]:
    return tuple(
        _Check(field.name, field.type, *(field.metadata.get(key) for key in ("known", "positive", "least")))
        for field in dataclasses.fields(described)
    )


def check_fields(where: str, described: Any) -> None:
    """Checks every field of a dataclass instance against its type and the bounds it was declared with.

    Args:
      where: what the fields belong to, such as "arm 'reg'"; starts every message.
      described: the instance; fields of other types than int, float, bool and str are only checked against `choice`.

    Raises:
      ValueError: naming `where`, field and value.
    """
    for name, kind, known, sign, least in _checks(described.__class__):
        value = getattr(described, name)
        # 1.0 and True equal 1, but are not what a reader of the field expects.
        if known is not None and (value not in known or type(value) not in map(type, known)):
            raise ValueError(f"{where}: unknown {name} {value!r}; one of {', '.join(map(str, known))}")
        if kind is float or (kind == float | None and value is not None):
            _check_number(where, name, value, sign)
        elif kind is bool and not isinstance(value, bool):
            raise ValueError(f"{where}: {name} must be True or False, got {value!r}")
        elif kind is str and not isinstance(value, str):
            raise ValueError(f"{where}: {name} must be text, got {value!r}")
        elif least is not None:
            check_integer(f"{where}: {name}", value, least)


def _check_number(where: str, name: str, value: object, sign: bool | None) -> None:
    if not is_real(value):
        raise ValueError(f"{where}: {name} must be a number, got {value!r}")
    if sign is None and not math.isfinite(value):
        raise ValueError(f"{where}: {name} must be finite, got {value}")
    if sign and not 0 < value < math.inf:
        hint = " (for plain regression set classes = 0)" if name == "lam" else ""
        raise ValueError(f"{where}: {name} must be positive, got {value}{hint}")
    if sign is False and not 0 <= value < math.inf:
        raise ValueError(f"{where}: {name} must not be negative, got {value}")
