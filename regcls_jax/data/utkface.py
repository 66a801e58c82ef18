"""UTKFace: ages from the names of the files, without its duplicates, split as DIR splits its face data sets."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from regcls_jax.checks import check_integer
from regcls_jax.data.images.table import OLDEST, ImageTable, balanced_splits

# Most images per age in val and in test. DIR takes 150 of 213,553 images; of UTKFace's 23,708 images 20 leave 86 % to
# train, and val and test (about 1,680 images each) are balanced over all ages to 63 and most to 80.
CAP = 20


def age_of(name: str) -> float:
    """The age in years in a file name `age_gender_race_date.jpg`. Raises ValueError, naming it, if there is none."""
    field = PurePosixPath(name).name.split("_", 1)[0]
    if not (re.fullmatch(r"\d{1,3}", field, re.ASCII) and int(field) <= OLDEST):
        raise ValueError(
            f"{name} is not named as UTKFace's images are: {field!r} before the first '_' is no age to {OLDEST}"
        )
    return float(field)


def balanced_table(names: Sequence[str], *, cap: int = CAP, seed: int = 0) -> ImageTable:
    """The table of ages, split as DIR does (recipe 5.1): for every age in order min(n // 3, cap) to val and to test.

    Args:
      names: of n images of an age; which of them go where (`balanced_splits`) depends on the order of `names`.
      cap: most images per age in val, and in test.
      seed: >= 0.

    Returns:
      The table in the order of `names`.

    Raises:
      ValueError: a name has no age, a name comes twice, `cap` is not positive or `seed` is negative.
    """
    check_integer("cap", cap, 1)
    check_integer("seed", seed, 0)
    if len(set(names)) < len(names):
        raise ValueError("an image is named twice")
    ages = np.array([age_of(name) for name in names], np.float32)
    return ImageTable(np.array(names, np.str_), ages, balanced_splits(ages, cap, seed))
