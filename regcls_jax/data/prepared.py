"""A prepared data set: what a training over streamed examples reads, whatever the examples are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

SPLITS = ("train", "val", "test")


class Prepared(NamedTuple):
    """A data set as its preparation left it.

    `name` of the data set; `target`, the name of what is predicted, in `unit` ("" for none); `digest` of names, targets
    and splits; `splits` "train", "val" and "test", each with `names` [n] of its examples and whatever its reader needs.
    """

    name: str
    target: str
    unit: str
    digest: str
    splits: Mapping[str, Any]
