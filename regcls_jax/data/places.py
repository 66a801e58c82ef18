"""Where prepared data sets of one kind are."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
VERSION = "1.0.0"
# The files beside the examples: what is known of all of them; of the data set; what was left out, and why.
LABELS, FACTS, LEFT_OUT = "labels.npz", "dataset.json", "left_out.json"


class Places(NamedTuple):
    """`published` data set -> its folder below the data folder; `own`, the folder of those of the user's own; and the
    flags of launch/prepare.py that prepare one of these.
    """

    published: Mapping[str, str]
    own: str
    flags: str

    def own_folder(self, name: str, data_dir: str | os.PathLike) -> Path:
        """Where a data set of the user's own is prepared. ValueError for a name that is none or that is taken."""
        if not re.fullmatch(NAME, name) or name in self.published:
            raise ValueError(
                f"name {name!r}: a data set of your own has a name of letters, digits, _ and -, that is not "
                f"one of {', '.join(self.published)}"
            )
        return Path(data_dir) / self.own / name / VERSION

    def folder_of(self, dataset: str, data_dir: str | os.PathLike) -> Path:
        """Where a prepared data set is: published, or the user's own. ValueError if there is no such one."""
        if dataset in self.published:
            return Path(data_dir) / self.published[dataset]
        own = sorted(path.parent.name for path in (Path(data_dir) / self.own).glob(f"*/{VERSION}"))
        if dataset not in own:
            raise ValueError(
                f"unknown data set {dataset!r}; one of {', '.join([*self.published, *own])}, or prepare your own: "
                f"python launch/prepare.py {self.flags} --name={dataset} --data_dir={data_dir}"
            )
        return self.own_folder(dataset, data_dir)
