"""The sources of problems by name, as the key `source` of a config's section `data` gives it."""

from collections.abc import Mapping
from typing import Any

from regcls_jax.data import breakfast, own, sts_b_dir, tables
from regcls_jax.data.source import Source
from regcls_jax.data.synthetic import problems as synthetic

DEFAULT = "synthetic_1d"
SOURCES: dict[str, Source] = {
    DEFAULT: synthetic.SOURCE,
    "table": tables.SOURCE,
    "breakfast": breakfast.SOURCE,
    "own": own.SOURCE,
    "sts_b_dir": sts_b_dir.SOURCE,
}


def source_of(data: Any) -> tuple[Source, dict[str, Any]]:
    """The source that a config's section `data` names, and the rest of the section; ValueError for an unknown one."""
    if not isinstance(data, Mapping):
        raise ValueError(f"config key data must be a section, such as {{'functions': 3}}, got {data!r}")
    name = data.get("source", DEFAULT)
    if not isinstance(name, str) or name not in SOURCES:
        raise ValueError(f"unknown data.source {name!r}; one of {', '.join(SOURCES)}")
    return SOURCES[name], {key: value for key, value in data.items() if key != "source"}
