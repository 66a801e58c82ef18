"""Every number of recipes 4.7 from the shipped training histogram of IMDB-WIKI-DIR."""

import numpy as np
import pytest

from regcls_jax import binning, imbalance
from regcls_jax.data import imdb_wiki
from regcls_jax.imbalance import LdsKernel
from regcls_jax.metrics.shots import shot_groups

ROUND = [0, 15, *range(17, 56), 57, 58, 60, 62, 64, 67, 75, 100]
CEIL = [0, 14, 16, *range(18, 57), 58, 59, 61, 63, 65, 70, 100]


@pytest.fixture(scope="module")
def counts():
    return imdb_wiki.train_counts()


def balanced(counts, classes, rounding):
    """Equalised classes over [0, 100]; the last of the given ones takes everybody of 100 years and more."""
    edges = np.linspace(0, 100, classes + 1)
    labels = binning.assign(np.arange(121.0), edges)
    return binning.from_histogram(np.bincount(labels, counts), edges, balanced=True, rounding=rounding)


def test_size_and_moments(counts):
    assert counts.shape == (121,)
    assert counts.sum() == 191_509
    assert counts[[0, 9, 10, 31, 119, 120]].tolist() == [3, 100, 123, 7149, 1, 15]
    assert np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2) == 34  # the median
    assert counts @ np.arange(121) / counts.sum() == pytest.approx(35.86, abs=5e-3)


def test_shot_groups(counts):
    groups = shot_groups(counts)
    assert np.flatnonzero(groups["many"]).tolist() == list(range(10, 78))
    assert np.flatnonzero(groups["medium"]).tolist() == [*range(5, 10), *range(78, 89), 90]
    np.testing.assert_array_equal(groups["few"], ~(groups["many"] | groups["medium"]))


@pytest.mark.parametrize(
    ("rounding", "edges", "least", "mean"), [("round", ROUND, 0.148, 0.266), ("ceil", CEIL, 0.187, 0.335)]
)
def test_a_hundred_balanced_classes(counts, rounding, edges, least, mean):
    bins = balanced(counts, 100, rounding)
    assert bins.classes == 48
    assert bins.edges.tolist() == edges
    assert bins.counts.sum() == 191_509
    assert bins.keep.min() == pytest.approx(least, abs=5e-4)
    # "Mean" is over samples: the share that a mask keeps.
    assert np.average(bins.keep, weights=bins.counts) == pytest.approx(mean, abs=5e-4)


@pytest.mark.parametrize("rounding", ["round", "ceil"])
def test_ten_and_two_balanced_classes(counts, rounding):
    ten = balanced(counts, 10, rounding)
    assert ten.edges.tolist() == [0, 20, 30, 40, 50, 100]
    assert ten.counts.tolist() == [9882, 54749, 63033, 37995, 25850]
    assert ten.keep == pytest.approx([1, 0.180, 0.157, 0.260, 0.382], abs=5e-4)
    two = balanced(counts, 2, rounding)
    assert len(binning.equalize(two.counts, two.edges, rounding)[1]) == 1
    assert two.edges.tolist() == [0, 50, 100]
    assert two.counts.tolist() == [165_659, 25_850]
    assert two.keep == pytest.approx([0.156, 1], abs=5e-4)


def test_lds_weights(counts):
    weights = imbalance.class_weights(counts, "sqrt_inv", lds=LdsKernel("gaussian", 5, 2))
    printed = ["29.91", "4.307", "0.6824", "1.698", "13.92", "34.45", "53.89"]
    assert [f"{weights[age]:.4g}" for age in (0, 10, 31, 60, 90, 100, 120)] == printed
    assert counts @ weights == pytest.approx(counts.sum())
