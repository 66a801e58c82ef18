"""Byte-identical images: which are found, and how many groups lie across splits."""

import numpy as np

from regcls_jax.data.images.duplicates import find_duplicates, groups_across_splits
from regcls_jax.data.images.table import ImageTable


def test_all_but_the_first_of_identical_images_are_named_by_the_first_ones_target():
    digests = {"1_a": "x", "1_b": "y", "1_c": "x", "2_a": "x", "3_a": "z", "3_b": "y"}
    targets = [1, 1, 1, 2, 3, 3]
    assert find_duplicates(list(digests), targets, digests) == (["1_c"], ["2_a", "3_b"])
    assert find_duplicates(["3_b", "1_b"], [3, 1], digests) == ([], ["1_b"])


def test_images_that_cannot_be_used_are_no_duplicates():
    assert find_duplicates(["a", "b", "c"], [1, 1, 1], {"a": "x", "c": "x"}) == (["c"], [])


def test_groups_across_splits_are_counted_once():
    names, splits = ["a", "b", "c", "d", "e", "f"], ["train", "train", "val", "val", "test", "val"]
    table = ImageTable(np.array(names), np.zeros(6, np.float32), np.array(splits))
    digests = dict(zip(names, "xxxyzz", strict=True))
    assert groups_across_splits(table, digests) == 2
    assert groups_across_splits(table, dict(zip(names, "123456", strict=True))) == 0
