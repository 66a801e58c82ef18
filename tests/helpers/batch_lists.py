"""Batches of an input pipeline, as lists."""

import itertools

import numpy as np


def take(batches, count):
    """The next batches of an iterator."""
    return list(itertools.islice(batches, count))


def assert_same(left, right):
    """Batches, bit for bit."""
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
