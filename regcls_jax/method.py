"""What every description of a training checks of its fields, with one message that names the arm and the field."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from regcls_jax.data.synthetic.spec import check_integer, is_real


def check_fields(
    run: Any,
    *,
    integers: Mapping[str, int],
    positive: Sequence[str],
    not_negative: Sequence[str],
    choices: Mapping[str, Sequence[Any]],
) -> None:
    """Checks the dataclass `run` (which has an `arm`): all floats are numbers and all bools are bools.

    `integers` gives the least value of whole numbers; `positive` and `not_negative` name finite numbers; `choices` the
    known values. ValueError naming arm, field and value.
    """
    where = f"arm {run.arm!r}"
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        if field.type is float and not is_real(value):
            raise ValueError(f"{where}: {field.name} must be a number, got {value!r}")
        if field.type is bool and not isinstance(value, bool):
            raise ValueError(f"{where}: {field.name} must be True or False, got {value!r}")
    for name, least in integers.items():
        check_integer(f"{where}: {name}", getattr(run, name), least)
    for name in positive:
        if not 0 < getattr(run, name) < float("inf"):
            hint = " (for plain regression set classes = 0)" if name == "lam" else ""
            raise ValueError(f"{where}: {name} must be positive, got {getattr(run, name)}{hint}")
    for name in not_negative:
        if not 0 <= getattr(run, name) < float("inf"):
            raise ValueError(f"{where}: {name} must not be negative, got {getattr(run, name)}")
    for name, known in choices.items():
        if getattr(run, name) not in known:
            raise ValueError(f"{where}: unknown {name} {getattr(run, name)!r}; one of {', '.join(map(str, known))}")
