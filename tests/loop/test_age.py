"""Ages as published: whole years, as many as ages may have."""

import re

import numpy as np
import pytest

from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.age import AgeRun, whole_years


def data(oldest):
    splits = {"train": [3, 20], "val": [7], "test": [oldest]}
    parts = {name: ImageSplit(None, np.float32(ages), np.empty(len(ages), str)) for name, ages in splits.items()}
    return Prepared("houses", "price", "EUR", "", parts)


def test_every_year_of_every_split_has_a_place():
    np.testing.assert_array_equal(whole_years(AgeRun(arm="reg", seed=0), data(31.5)), np.arange(33))


@pytest.mark.parametrize("oldest", [201, 2e9])
def test_targets_that_are_no_ages_take_no_memory(oldest):
    with pytest.raises(ValueError, match=re.escape(f"houses: price up to {oldest:g} is no age; config.run.task")):
        whole_years(AgeRun(arm="reg", seed=0), data(oldest))
