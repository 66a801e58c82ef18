"""Classes: golden equalisation, the IMDB-WIKI-DIR histogram, a bin-by-bin oracle, edge values, bad input."""

import csv
import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from regcls_jax import binning, losses
from regcls_jax.data import imdb_wiki

AGEDB = Path("/work/shared/data/agedb.csv")


def slow_equalize(counts, edges, rounding):
    """Equation 12 one bin at a time, in Python numbers: (new edges, new counts)."""
    first = next(k for k, count in enumerate(counts) if count > 0)
    bins, total, cumulative, members = len(counts) - first, sum(counts), 0, {}
    for k in range(first, len(counts)):
        cumulative += counts[k]
        rank = bins * (cumulative / total)
        # Classes from 0 as in the published codes (recipes 4.2); the paper's floor needs no shift.
        steps = {"ceil": math.ceil(rank) - 1, "round": max(round(rank) - 1, 0), "floor": math.floor(rank)}
        members.setdefault(steps[rounding], []).append(k)
    starts = [edges[ks[0]] for _, ks in sorted(members.items())]
    starts[0] = edges[0]
    return [*starts, edges[-1]], [sum(counts[k] for k in ks) for _, ks in sorted(members.items())]


def random_histograms(number):
    """Histograms of 1 to 40 bins, from nearly even to one dominant bin, with empty bins also at both ends."""
    rng = np.random.RandomState(0)
    for _ in range(number):
        bins = rng.randint(1, 41)
        counts = rng.poisson(rng.uniform(0.5, 50) * rng.gamma(rng.choice([0.1, 1, 10]), size=bins))
        counts[: rng.randint(0, bins)] *= rng.randint(0, 2)
        counts[bins - rng.randint(0, bins) :] *= rng.randint(0, 2)
        if counts.any():
            yield counts, np.cumsum(rng.uniform(0.01, 1, bins + 1)) - 5


@functools.cache
def imdb_ages():
    """The 191,509 training ages of IMDB-WIKI-DIR; ages of 120 and more as 120 (recipes 4.7)."""
    return np.repeat(np.arange(121, dtype=np.float32), imdb_wiki.train_counts())


def balanced(targets, classes, rounding):
    return binning.from_edges(targets, np.linspace(0, 100, classes + 1), balanced=True, rounding=rounding)


def kept_share(bins):
    """Expected share of the samples that a mask keeps: the mean of keep over samples, not over classes."""
    return np.average(bins.keep, weights=bins.counts)


def test_golden_equalisation_of_the_published_code(golden):
    cases = json.loads((golden / "equalize.json").read_text())
    assert len(cases) == 12
    for case in cases:
        edges, counts = binning.equalize(case["hist"], case["edges"], "ceil")
        assert edges.tolist() == case["new_edges"]
        assert counts.tolist() == case["new_hist"]


@pytest.mark.parametrize("rounding", binning.ROUNDINGS)
def test_equalize_equals_the_slow_oracle(rounding):
    seen = 0
    for counts, edges in random_histograms(1_500):
        new_edges, new_counts = binning.equalize(counts, edges, rounding)
        expected_edges, expected_counts = slow_equalize(counts.tolist(), edges.tolist(), rounding)
        assert new_edges.tolist() == expected_edges
        assert new_counts.tolist() == expected_counts
        seen += 1
    assert seen > 1_200


@pytest.mark.parametrize("rounding", binning.ROUNDINGS)
def test_equalize_merges_neighbours_and_loses_no_sample(rounding):
    for counts, edges in random_histograms(300):
        new_edges, new_counts = binning.equalize(counts, edges, rounding)
        assert set(new_edges) <= set(edges)
        assert (new_edges[0], new_edges[-1]) == (edges[0], edges[-1])
        assert (np.diff(new_edges) > 0).all()
        samples = np.repeat((edges[:-1] + edges[1:]) / 2, counts)
        np.testing.assert_array_equal(np.histogram(samples, new_edges)[0], new_counts)
        # Only the shape of the histogram matters, not its size.
        np.testing.assert_array_equal(binning.equalize(7 * counts, edges, rounding)[0], new_edges)


def test_floor_leaves_the_last_bin_alone():
    # Why the printed floor is not the default: the rank of the last bin is C, of every earlier one below C.
    for counts, edges in random_histograms(300):
        assert binning.equalize(counts, edges, "floor")[1][-1] == counts[counts > 0][-1]


def test_exact_ties_are_decided_in_the_published_order():
    # 25 * (7 / 25) and 25 * (14 / 25) are just above 7 and 14 in float64, 25 * 7 / 25 is not: the published ceil
    # then merges two bins of an even histogram.
    edges, _ = binning.equalize(np.ones(25, int), np.arange(26), "ceil")
    assert edges.tolist() == sorted({*range(26)} - {7, 14})


@pytest.mark.parametrize(
    ("rounding", "edges", "smallest", "share"),
    [
        # recipes 4.7 (minimum of keep, mean of keep over the samples); floor: by the slow oracle above.
        ("round", [0, 15, *range(17, 56), 57, 58, 60, 62, 64, 67, 75, 100], 0.148, 0.266),
        ("ceil", [0, 14, 16, *range(18, 57), 58, 59, 61, 63, 65, 70, 100], 0.187, 0.335),
        ("floor", [0, 14, 16, *range(18, 57), 58, 59, 61, 63, 65, 70, 99, 100], 0.006, 0.011),
    ],
)
def test_hundred_balanced_classes_of_imdb_wiki(rounding, edges, smallest, share):
    bins = balanced(imdb_ages(), 100, rounding)
    assert bins.classes == {"round": 48, "ceil": 48, "floor": 49}[rounding]
    assert bins.edges.tolist() == edges
    assert bins.keep.min() == pytest.approx(smallest, abs=5e-4)
    assert kept_share(bins) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("rounding", ["round", "ceil"])
def test_ten_and_two_balanced_classes_of_imdb_wiki(rounding):
    ten = balanced(imdb_ages(), 10, rounding)
    assert ten.edges.tolist() == [0, 20, 30, 40, 50, 100]
    assert ten.counts.tolist() == [9882, 54749, 63033, 37995, 25850]
    assert ten.keep == pytest.approx([1, 0.180, 0.157, 0.260, 0.382], abs=5e-4)
    two = balanced(imdb_ages(), 2, rounding)
    assert len(binning.equalize(two.counts, [0, 50, 100], rounding)[1]) == 1
    assert two.edges.tolist() == [0, 50, 100]
    assert two.counts.tolist() == [165659, 25850]
    assert two.keep == pytest.approx([0.156, 1], abs=5e-4)


def test_ten_balanced_classes_of_imdb_wiki_with_the_printed_floor():
    bins = balanced(imdb_ages(), 10, "floor")
    assert bins.edges.tolist() == [0, 20, 30, 40, 50, 90, 100]
    assert bins.counts.tolist() == [9882, 54749, 63033, 37995, 25732, 118]
    np.testing.assert_array_equal(bins.keep, 118 / bins.counts)


@pytest.mark.skipif(not AGEDB.exists(), reason=f"{AGEDB} is not here (its licence forbids a copy)")
@pytest.mark.parametrize(
    ("classes", "rounding", "expected", "share"),
    # recipes 4.2.
    [(100, "ceil", 58, 0.442), (100, "round", 60, 0.246), (10, "ceil", 6, None), (10, "round", 7, None)],
)
def test_balanced_classes_of_agedb(classes, rounding, expected, share):
    with open(AGEDB, newline="") as file:
        ages = np.array([float(row["age"]) for row in csv.DictReader(file) if row["split"] == "train"])
    bins = balanced(ages, classes, rounding)
    assert bins.classes == expected
    if share:
        assert kept_share(bins) == pytest.approx(share, abs=5e-4)


# Half to even: exactly three quarters in the first bin have rank 1.5, which rounds to 2 (recipes 4.2).
@pytest.mark.parametrize(
    ("counts", "rounding", "collapses"),
    [([3, 1], "round", 1), ([299, 101], "round", 0), ([201, 199], "ceil", 1), ([1, 1], "ceil", 0)],
)
def test_where_two_classes_collapse_the_given_edges_stay(counts, rounding, collapses):
    # Half to even: three quarters in the first bin have rank 1.5, which rounds to 2 (recipes 4.2).
    edges = np.array([0.0, 50.0, 100.0])
    assert (len(binning.equalize(counts, edges, rounding)[1]) == 1) == collapses
    bins = binning.from_histogram(np.array(counts), edges, True, rounding)
    np.testing.assert_array_equal(bins.edges, edges)
    np.testing.assert_array_equal(bins.counts, counts)
    np.testing.assert_array_equal(bins.keep, min(counts) / np.array(counts))


def slow_assign(target, edges):
    for k in range(len(edges) - 1):
        if edges[k] <= target < edges[k + 1]:
            return k
    return 0 if target < edges[0] else len(edges) - 2


@pytest.mark.parametrize(
    ("edges", "targets", "labels"),
    [
        # minimum, inside, on an inner edge, just below it, maximum
        ([0, 1, 2, 3], [0, 0.5, 1, np.nextafter(np.float32(1), 0), 3], [0, 0, 1, 0, 2]),
        # outside on both sides, infinite
        ([0, 1, 2, 3], [-1, 3.5, np.inf, -np.inf], [0, 2, 2, 0]),
        # duplicate edges: the empty class gets nothing
        ([0, 1, 1, 2], [0.5, 1, 1.5], [0, 2, 2]),
        ([0, 0, 1, 1], [-1, 0, 0.5, 1], [0, 1, 1, 2]),
    ],
)
def test_assign_at_edge_values(edges, targets, labels):
    edges, targets = np.array(edges, np.float32), np.array(targets, np.float32)
    got = binning.assign(targets, edges)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.int32
    assert got.tolist() == labels == [slow_assign(target, edges) for target in targets]
    traced = jax.jit(binning.assign)(jnp.array(targets), jnp.array(edges))
    assert traced.dtype == jnp.int32
    assert traced.tolist() == labels


@pytest.mark.parametrize("shape", [(500,), (25, 20), (500, 1), ()])
def test_assign_in_numpy_equals_the_oracle_and_jitted_jax(shape):
    rng = np.random.RandomState(0)
    edges = np.sort(rng.normal(size=14)).astype(np.float32)
    targets = np.asarray(rng.normal(scale=1.5, size=shape), np.float32)
    if shape:
        targets.flat[:14] = edges
    labels = binning.assign(targets, edges)
    assert labels.shape == shape
    assert labels.ravel().tolist() == [slow_assign(target, edges) for target in targets.ravel()]
    np.testing.assert_array_equal(jax.jit(binning.assign)(jnp.array(targets), jnp.array(edges)), labels)


def test_padded_edges_with_a_traced_number_of_classes_equal_the_real_edges():
    traces = []

    @jax.jit
    def assign(targets, edges, classes):
        traces.append(classes)
        return binning.assign(targets, edges, classes)

    targets = np.random.RandomState(0).uniform(-1, 11, 400).astype(np.float32)
    targets[:2] = 10, np.inf
    for classes in (2, 5, 9):
        edges = np.linspace(0, 10, classes + 1, dtype=np.float32)
        padded = np.append(edges, np.full(9 - classes, np.inf, np.float32))
        np.testing.assert_array_equal(assign(targets, padded, classes), binning.assign(targets, edges))
    assert len(traces) == 1


def test_fit_covers_the_targets_with_equal_widths_and_keeps_everything():
    targets = np.random.RandomState(0).normal(size=1_000)
    bins = binning.fit(targets, 16)
    np.testing.assert_array_equal(bins.edges, np.linspace(targets.min(), targets.max(), 17))
    np.testing.assert_array_equal(bins.counts, np.histogram(targets, 16)[0])
    np.testing.assert_array_equal(bins.keep, np.ones(16))


@pytest.mark.parametrize("rounding", binning.ROUNDINGS)
def test_fit_balanced_counts_its_own_labels_and_keeps_equally_many_of_every_class(rounding):
    targets = np.random.RandomState(0).gamma(2, size=(700, 3))
    bins = binning.fit(targets, 30, balanced=True, rounding=rounding)
    assert 2 <= bins.classes < 30
    labels = binning.assign(targets, bins.edges)
    np.testing.assert_array_equal(np.bincount(labels.ravel(), minlength=bins.classes), bins.counts)
    np.testing.assert_allclose(bins.keep * bins.counts, bins.counts.min(), rtol=1e-12)


@pytest.mark.parametrize(
    ("targets", "classes", "message"),
    [
        ([1.0, 2.0, 3.0], 1, "ages: classes must be at least 2, got 1"),
        ([1.0, 2.0, 3.0], 0, "ages: classes must be at least 2, got 0"),
        ([1.0, 2.0, 3.0], 4, "ages: 4 classes are more than the 3 samples"),
        ([7.0, 7.0, 7.0], 2, r"ages: the target range \[7.0, 7.0\] is empty"),
        ([1.0, 2.0, np.nan, np.inf], 2, "ages: 2 of 4 values are not finite, the first at row 2"),
        ([[1.0, 2.0], [0.0, -np.inf]], 2, "ages: 1 of 4 values are not finite, the first at row 1, 1"),
        ([], 2, "ages: no samples"),
    ],
)
def test_fit_refuses_targets_that_make_no_classes(targets, classes, message):
    with pytest.raises(ValueError, match=message):
        binning.fit(np.array(targets), classes, name="ages")


@pytest.mark.parametrize(
    ("counts", "edges", "rounding", "message"),
    [
        ([1, 2], [0, 1], "ceil", "2 counts need 3 edges, got 2"),
        ([1, 2], [0, 1, 2], "nearest", "unknown rounding 'nearest'; one of ceil, round, floor"),
        ([1, -2], [0, 1, 2], "ceil", "non-negative whole numbers"),
        ([1, 0.5], [0, 1, 2], "ceil", "non-negative whole numbers"),
        ([1, np.nan], [0, 1, 2], "ceil", "non-negative whole numbers"),
        ([0, 0], [0, 1, 2], "ceil", "not all zero"),
    ],
)
def test_equalize_refuses_what_is_no_histogram(counts, edges, rounding, message):
    with pytest.raises(ValueError, match=message):
        binning.equalize(counts, edges, rounding)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_uniform_edges_need_a_range(low, high):
    with pytest.raises(ValueError, match="is empty or not finite"):
        binning.uniform_edges(low, high, 4)


def test_keep_probabilities_are_the_smallest_count_over_each_and_need_a_sample():
    np.testing.assert_array_equal(binning.keep_probabilities([2, 0, 8, 4]), [1, 1, 0.25, 0.5])
    with pytest.raises(ValueError, match="not all zero"):
        binning.keep_probabilities([0, 0])


@pytest.mark.parametrize("edges", [np.linspace(0, 100, 11), np.array([0, 20, 30, 40, 50, 100.0])])
@pytest.mark.parametrize("sigma", [2.0, 20.0])
def test_memberships_are_those_of_hl_gauss(edges, sigma):
    targets = np.array([[-5, 0, 3.5, 20], [34, 99.9, 100, 186]])
    got = jax.jit(losses.memberships)(jnp.float32(targets), jnp.float32(edges), sigma)
    assert got.shape == (2, 4, len(edges) - 1)
    inside = np.clip(targets, 0, 100)
    for index in np.ndindex(targets.shape):
        # recipes 2.11, in float64.
        below = special.erf((edges - inside[index]) / (2**0.5 * sigma))
        np.testing.assert_allclose(got[index], np.diff(below) / (below[-1] - below[0]), atol=1e-6)
    np.testing.assert_allclose(got.sum(-1), 1, atol=1e-6)


def test_memberships_of_a_narrow_width_are_the_classes():
    edges, targets = jnp.linspace(0, 100, 11), jnp.array([3, 15, 47, 99.0])
    got = losses.memberships(targets, edges, 1e-3)
    np.testing.assert_array_equal(got, jax.nn.one_hot(binning.assign(targets, edges), 10))


@pytest.mark.parametrize("classes", [10, 50])
def test_host_and_device_give_the_same_labels_on_any_decimal_grid(classes):
    """Targets on the edges: in float64 the host put .3 below the edge 3 * .1, the device above it."""
    on_device = jax.jit(binning.assign)
    for step in np.round(np.random.default_rng(0).uniform(0.01, 2.5, 300), 2):
        targets = np.round(step * np.arange(2 * classes), 2)
        edges = binning.uniform_edges(0, float(targets[-1]), classes)
        host = binning.assign(targets, edges)
        np.testing.assert_array_equal(host, on_device(jnp.asarray(targets), jnp.asarray(edges)))
        single = np.asarray(targets, np.float32), np.asarray(edges, np.float32)
        np.testing.assert_array_equal(host, binning.assign(*single))


def test_tenths_fall_into_their_buckets():
    targets = np.repeat(np.round(np.arange(0, 5.05, 0.1), 1), 100)
    counts = binning.from_edges(targets, binning.uniform_edges(0, 5, 50)).counts
    assert counts.tolist() == [100] * 49 + [200]


def test_a_nan_has_no_class():
    edges = np.linspace(0, 1, 5)
    with pytest.raises(ValueError, match="target 1, 0 is NaN"):
        binning.assign(np.array([[0.1], [np.nan]]), edges)
    assert binning.assign(jnp.array([0.1, jnp.nan, jnp.inf]), edges).tolist() == [0, -1, 3]


@pytest.mark.parametrize("counts", [[1, np.inf], [1, np.nan], [2, -1], [0.5, 1], [0, 0], [[1, 2]]])
def test_what_is_no_histogram_is_refused(counts):
    for function in (binning.keep_probabilities, lambda counts: binning.equalize(counts, np.arange(3.0))):
        with pytest.raises(ValueError, match="counts must be non-negative whole numbers"):
            function(np.array(counts))
