"""What a training of ages takes from its histogram, on that of IMDB-WIKI-DIR (recipes 2.2, 2.4 and 4.7)."""

import numpy as np
import pytest

from regcls_jax import targets
from regcls_jax.data import imdb_wiki
from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.fitted import fit
from regcls_jax.loop.runs import ImageRun

ROUND = [0, 15, *range(17, 56), 57, 58, 60, 62, 64, 67, 75, 100]


@pytest.fixture(scope="module")
def ages():
    """The 191,509 training ages; the 15 of 120 years and more as 120, but for one of 186."""
    ages = np.repeat(np.arange(121, dtype=np.float32), imdb_wiki.train_counts())
    ages[-1] = 186
    return ages


def run(**settings):
    return AgeRun(arm="mine", seed=0, **settings)


def fitted(described, training):
    return fit(described, training, f"{described.dataset} training targets")


def test_plain_regression_in_years_needs_nothing(ages):
    arrays = fitted(run(), ages)
    assert (arrays.mean, arrays.std) == (0, 1)
    assert all(value is None for name, value in arrays._asdict().items() if name not in ("mean", "std"))


def test_uniform_classes_keep_everything(ages):
    arrays = fitted(run(classes=10), ages)
    assert arrays.edges.tolist() == list(range(0, 101, 10))
    assert arrays.keep.tolist() == [1] * 10
    assert arrays.data_edges is None


def test_a_hundred_balanced_classes(ages):
    arrays = fitted(run(classes=100, balanced=True), ages)
    assert arrays.edges.tolist() == ROUND
    assert arrays.keep.shape == (48,)
    assert arrays.keep.min() == pytest.approx(0.148, abs=5e-4)
    bins = targets.class_bins(run(classes=100, balanced=True), ages)
    assert np.average(arrays.keep, weights=bins.counts) == pytest.approx(0.266, abs=5e-4)
    assert bins.counts.sum() == 191_509


def test_ten_and_two_balanced_classes(ages):
    ten = fitted(run(classes=10, balanced=True), ages)
    assert ten.edges.tolist() == [0, 20, 30, 40, 50, 100]
    assert ten.keep == pytest.approx([1, 0.180, 0.157, 0.260, 0.382], abs=5e-4)
    # Equalisation leaves one class, so the code falls back to two uniform ones.
    two = fitted(run(classes=2, balanced=True), ages)
    assert two.edges.tolist() == [0, 50, 100]
    assert two.keep == pytest.approx([0.156, 1], abs=5e-4)


def test_the_rounding_and_the_range_are_the_runs(ages):
    ceil = fitted(run(classes=100, balanced=True, rounding="ceil"), ages)
    assert ceil.edges[:4].tolist() == [0, 14, 16, 18]
    assert fitted(run(classes=4, low=20.0, high=60.0), ages).edges.tolist() == [20, 30, 40, 50, 60]


def test_balanced_data_has_the_classes_of_the_balanced_arm(ages):
    reg = fitted(run(balanced_data=100), ages)
    both = fitted(run(balanced_data=100, classes=100, balanced=True), ages)
    assert reg.edges is None
    for arrays in (reg, both):
        np.testing.assert_array_equal(arrays.data_edges, ROUND)
        np.testing.assert_array_equal(arrays.data_keep, both.keep)


def test_published_lds_weights(ages):
    settings = run(reweight="sqrt_inv", lds=True)
    weights = fitted(settings, ages).bucket_weights
    assert weights.shape == (121,)
    printed = ["29.91", "4.307", "0.6824", "1.698", "13.92", "34.45", "53.89"]
    assert [f"{weights[age]:.4g}" for age in (0, 10, 31, 60, 90, 100, 120)] == printed
    assert imdb_wiki.train_counts() @ targets.bucket_weights(settings, ages) == pytest.approx(191_509)


def test_inverse_weights_are_those_of_clipped_counts(ages):
    weights = fitted(run(reweight="inverse", clip_low=5.0, clip_high=1000.0), ages).bucket_weights
    counts = imdb_wiki.train_counts()
    expected = 1 / np.clip(counts, 5, 1000)
    expected *= counts.sum() / (counts * expected).sum()
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    # Ages 0 and 119 have 3 and 1 samples, but weigh as 5, which age 3 has; from 1000 on, all weigh alike.
    assert weights[0] == weights[119] == weights[3]
    assert weights[17] == weights[31] == pytest.approx(weights[3] / 200)
    free = fitted(run(reweight="inverse"), ages).bucket_weights
    assert free[0] / free[31] == pytest.approx(7149 / 3)


def test_part_years_and_more_buckets(ages):
    assert fitted(run(reweight="sqrt_inv", buckets=200, bucket_high=200.0), ages).bucket_weights.shape == (200,)
    halves = fitted(run(reweight="sqrt_inv"), ages + np.float32(0.5))
    np.testing.assert_array_equal(halves.bucket_weights, fitted(run(reweight="sqrt_inv"), ages).bucket_weights)


def test_a_standardised_output_has_the_moments_of_the_training_ages(ages):
    arrays = fitted(run(output="standardised"), ages)
    counts = imdb_wiki.train_counts()
    mean = (counts @ np.arange(121) + 66) / 191_509  # one of them is 186
    square = (counts @ np.arange(121) ** 2 + 186**2 - 120**2) / 191_509
    assert arrays.mean == pytest.approx(mean, rel=1e-6)
    assert arrays.std == pytest.approx((square - mean**2) ** 0.5, rel=1e-6)
    assert {arrays.mean.dtype, arrays.std.dtype} == {np.dtype("float32")}


def test_the_prior_of_bni_is_the_histogram_of_whole_years(ages):
    settings = {"regression": "bni", "buckets": 200, "bucket_high": 200.0, "bucket_point": "mean"}  # as published
    prior = fitted(run(**settings), ages).prior
    counts = imdb_wiki.train_counts()
    counts = np.bincount(np.append(np.repeat(np.arange(121), counts)[:-1], 186))
    real = prior.weights > 0
    assert prior.means[real].tolist() == np.flatnonzero(counts).tolist()
    assert not prior.variances.any()
    np.testing.assert_allclose(prior.weights[real], counts[counts > 0] / 191_509, rtol=1e-12)
    assert fitted(run(regression="bmc"), ages).prior is None


def test_the_prior_of_gai_is_the_published_mixture_of_whole_ages(ages):
    from sklearn.mixture import GaussianMixture

    some = ages[::20]
    prior = fitted(run(regression="gai", components=4), some).prior
    # Ours, in float64: the published code fits float32 ages (recipes 2.4).
    by_em = GaussianMixture(4, random_state=0).fit(some.astype(int)[:, None])
    np.testing.assert_allclose(prior.means, by_em.means_[:, 0], rtol=1e-9)
    np.testing.assert_allclose(prior.variances, by_em.covariances_[:, 0, 0], rtol=1e-9)
    np.testing.assert_allclose(prior.weights, by_em.weights_, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "ages", "message"),
    [
        ({}, [], "agedb_dir training targets: no samples"),
        ({}, [30, np.nan, np.inf], "agedb_dir training targets: 2 of 3 values are not finite, the first at row 1"),
        ({"output": "standardised"}, [30, 30], "agedb_dir training targets are all 30, so the output cannot be"),
    ],
)
def test_ages_that_cannot_be_used(settings, ages, message):
    with pytest.raises(ValueError, match=message):
        fitted(run(dataset="agedb_dir", **settings), np.float32(ages))


def test_classes_and_buckets_of_any_target_follow_from_its_training_range():
    prices = np.float32([-40, -38, -35, -30, -30, 0, 10, 60])
    settings = {"classes": 5, "reweight": "inverse", "buckets": 4, "output": "standardised"}
    arrays = fitted(ImageRun(arm="mine", seed=0, dataset="houses", **settings), prices)
    assert arrays.edges.tolist() == [-40, -20, 0, 20, 40, 60]
    assert arrays.bucket_edges.tolist() == [-40, -15, 10, 35, 60]
    # 5, 1, 1 and 1 prices in them; mean 1 over the prices.
    assert arrays.bucket_weights == pytest.approx(np.array([1 / 5, 1, 1, 1]) * 8 / 4)
    assert arrays.mean == pytest.approx(prices.mean())
    quantiles = {"low_quantile": 0.25, "high_quantile": 0.75, "classes": 5}
    inner = fitted(ImageRun(arm="mine", seed=0, dataset="houses", **quantiles), prices)
    assert (inner.edges[0], inner.edges[-1]) == (-38, 0)
