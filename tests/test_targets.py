"""What a method takes from the training targets: a histogram says the same as the targets; ends, weights, priors."""

import dataclasses

import jax
import numpy as np
import pytest
from nyud2 import nyud2_counts
from sklearn.mixture import GaussianMixture

from regcls_jax import binning, imbalance, targets
from regcls_jax.density_weights import dense_weights
from regcls_jax.method import Method
from regcls_jax.targets import Histogram

Y = np.round(np.random.default_rng(0).gamma(3, 5, 2000))
COUNTED = Histogram(*np.unique(Y, return_counts=True))
METHODS = {
    "classes": Method(classes=20),
    "balanced": Method(classes=20, balanced=True),
    "quantiles": Method(classes=10, low_quantile=0.05, high_quantile=0.9),
    "ends": Method(classes=10, low=0.0, high=100.0),
    "lds": Method(reweight="sqrt_inv", lds=True, buckets=40),
    "clipped": Method(reweight="inverse", clip_low=5.0, clip_high=50.0, bucket_low=0.0, bucket_high=60.0, buckets=60),
    "points": Method(regression="bni", buckets=30),
    "mixture": Method(regression="gai", components=2),
    "standardised": Method(output="standardised"),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_histogram_gives_what_its_targets_give(name):
    one, other = targets.fit(METHODS[name], Y), targets.fit(METHODS[name], COUNTED)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_nothing_is_made_that_the_method_has_no_use_for():
    assert targets.fit(Method(), Y) == (None, None, None, None, 0.0, 1.0)


def test_classes_lie_between_the_ends_or_the_quantiles():
    y = np.arange(1001.0)
    edges = targets.class_bins(Method(classes=4, low_quantile=0.1, high_quantile=0.9), y).edges
    np.testing.assert_allclose(edges, np.linspace(100, 900, 5))
    bins = targets.class_bins(Method(classes=4, low=0.0, high=2000.0), y)
    assert bins.counts.tolist() == [500, 500, 1, 0]
    same = binning.fit(Y, 20, balanced=True)
    for a, b in zip(targets.class_bins(METHODS["balanced"], Y), same, strict=True):
        np.testing.assert_array_equal(a, b)


def test_sample_weights_are_those_of_the_bucket_and_have_mean_one():
    method = METHODS["lds"]
    weights = targets.sample_weights(method, Y)
    edges = np.linspace(Y.min(), Y.max(), 41)
    expected = imbalance.label_weights(Y, edges, "sqrt_inv", lds=imbalance.LdsKernel())
    np.testing.assert_allclose(weights, expected)
    assert weights.mean() == pytest.approx(1)


def test_points_are_bucket_centres_or_the_means_of_their_targets():
    centre = targets.prior(Method(regression="bni", buckets=10, bucket_low=0.0, bucket_high=100.0), Y)
    np.testing.assert_allclose(centre.means, np.arange(5.0, 100, 10))
    method = Method(regression="bni", buckets=100, bucket_low=0.0, bucket_high=100.0, bucket_point="mean")
    mean = targets.prior(method, Y)
    real = mean.weights > 0
    np.testing.assert_array_equal(mean.means[real], COUNTED.values)  # whole numbers: the bucket's own
    np.testing.assert_allclose(mean.weights[real], COUNTED.counts / len(Y))


@pytest.mark.parametrize(
    ("method", "y", "message"),
    [
        (Method(classes=4), [1.0, np.nan], "mine: 1 of 2 values are not finite, the first at row 1"),
        (Method(classes=4), [2.0] * 9, r"mine: the target range \[2.0, 2.0\] is empty"),
        (Method(classes=4), [1.0, 2.0], "mine: 4 classes are more than the 2 samples"),
        (Method(output="standardised"), [3.0, 3.0], "mine are all 3, so the output cannot be standardised"),
    ],
)
def test_targets_that_cannot_be_used_are_named(method, y, message):
    with pytest.raises(ValueError, match=message):
        targets.fit(method, np.array(y), "mine")


@pytest.mark.parametrize("constant", [0.6, 1e9, -1e-7])
def test_a_constant_has_no_deviation_however_it_rounds(constant):
    mean, std = targets.scale_of(np.full(90, constant))
    assert (mean, std) == (pytest.approx(constant), 0)
    with pytest.raises(ValueError, match="so the output cannot be standardised"):
        targets.standardisation(Method(output="standardised"), np.full(90, constant))


def test_vector_targets_are_standardised_one_by_one():
    y = np.stack([Y, 1000 + 2 * Y], axis=1)
    mean, std = targets.standardisation(Method(output="standardised"), y)
    np.testing.assert_allclose(mean, y.mean(0))
    np.testing.assert_allclose(std, y.std(0))


def test_classes_that_do_not_fit_the_targets():
    share = np.random.default_rng(0).random(1000)
    with pytest.raises(
        ValueError, match=r"mine: all 1,000 are in one of 100 classes over \[0, 100\]; set low and high"
    ):
        targets.fit(Method(classes=100, low=0.0, high=100.0), share, "mine")
    ages = np.r_[share[:80] * 100, 100 + 1900 * share[80:]]
    fixed = Method(classes=100, low=0.0, high=100.0)
    text = targets.misfit(targets.class_bins(fixed, ages), ages)
    assert text == "the fullest of 100 classes has 92% of the targets; 92% of the targets are outside [0, 100]"
    few = np.r_[np.full(3, 5.0), np.full(997, 95.0)]
    kept = Method(classes=10, low=0.0, high=100.0, balanced=True)
    assert targets.misfit(targets.class_bins(kept, few), few).endswith("balanced classes keep 0.6% of the targets")
    assert targets.misfit(targets.class_bins(Method(classes=10), share), share) == ""
    assert targets.misfit(targets.class_bins(Method(classes=2), share), share) == ""
    assert targets.misfit(None, share) == ""


def test_smoothed_counts_are_rounded_down_on_request():
    values = np.repeat(np.arange(30.0), np.arange(1, 31) ** 2)
    method = Method(reweight="inverse", buckets=30, bucket_low=0.0, bucket_high=30.0, lds=True, lds_truncate=True)
    kernel = imbalance.LdsKernel(truncate=True)
    expected = imbalance.class_weights(np.arange(1, 31) ** 2, "inverse", lds=kernel)
    np.testing.assert_allclose(targets.bucket_weights(method, values), expected, rtol=1e-12)
    other = targets.bucket_weights(dataclasses.replace(method, lds_truncate=False), values)
    assert abs(other / expected - 1).max() > 0.01


def depth_histogram():
    return Histogram(np.arange(0.05, 10, 0.1), nyud2_counts())


NYUD2 = {"buckets": 100, "bucket_low": 0.0, "bucket_high": 10.0, "bucket_start": 7}


@pytest.mark.parametrize("lds", [True, False])
@pytest.mark.parametrize("reweight", ["inverse", "sqrt_inv"])
def test_published_weights_of_depth(reweight, lds):
    """An oracle from recipes 2.2, by loops: buckets 7 to 99 alone, mirrored, 0 to 6 copy bucket 7."""
    counts = nyud2_counts().astype(float)
    kept = [c**0.5 if reweight == "sqrt_inv" else c for c in counts[7:]]
    window = [0.858285, 0.945828, 1.0, 0.945828, 0.858285]
    smoothed = []
    for place in range(93):
        near = [place + offset for offset in range(-2, 3)]
        mirrored = [-1 - i if i < 0 else 185 - i if i > 92 else i for i in near]
        smoothed.append(sum(w * kept[i] for w, i in zip(window, mirrored, strict=True)) if lds else kept[place])
    smoothed = np.array([smoothed[0]] * 7 + smoothed)
    expected = counts.sum() / (counts / smoothed).sum() / smoothed
    method = Method(reweight=reweight, lds=lds, lds_boundary="reflect", **NYUD2)
    weights = targets.bucket_weights(method, depth_histogram())
    np.testing.assert_allclose(weights, expected, rtol=1e-6 if lds else 1e-12)
    assert np.average(weights, weights=counts) == pytest.approx(1)
    other = targets.bucket_weights(dataclasses.replace(method, bucket_start=0), depth_histogram())
    assert abs(other / weights - 1).max() > 0.5


def test_published_prior_of_depth_by_buckets():
    counts = nyud2_counts()
    found = targets.prior(Method(regression="bni", **NYUD2), depth_histogram())
    counts[:7] = counts[7]
    np.testing.assert_allclose(found.means, 0.05 + 0.1 * np.arange(100))
    np.testing.assert_allclose(found.weights, counts / counts.sum())


def test_published_mixture_of_depth():
    counts = nyud2_counts()
    counts[:7] = counts[7]
    edges = np.linspace(0, 10, 101)
    values = [(edges[b] + edges[b + 1]) / 2 for b in range(100) for _ in range(counts[b] // 1_000_000)]
    gai = Method(regression="gai", components=16, mixture_per=1_000_000, **NYUD2)
    found = targets.prior(gai, depth_histogram())
    fitted = GaussianMixture(16, random_state=0).fit(np.array(values)[:, None])
    np.testing.assert_allclose(found.means, fitted.means_[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.weights, fitted.weights_, rtol=1e-9)
    # The published program fits in float32, where EM ends elsewhere: as good a fit, to a thousandth.
    single = GaussianMixture(16, random_state=0).fit(np.float32(values)[:, None])
    assert fitted.score(np.array(values)[:, None]) == pytest.approx(single.score(np.float32(values)[:, None]), abs=2e-3)
    with pytest.raises(ValueError, match=r"fitted to 3,694,227,493 targets; set mixture_per to 369,423"):
        targets.prior(dataclasses.replace(gai, mixture_per=1), depth_histogram())
    with pytest.raises(ValueError, match="mixture_per 1000000000 leaves 0 values for a mixture of 16; lower it"):
        targets.prior(dataclasses.replace(gai, mixture_per=10**9), depth_histogram())


def test_classes_from_the_published_counts_of_depth():
    """Figures of recipes 4.2."""
    balanced = Method(classes=100, low=0.0, high=10.0, balanced=True, rounding="round")
    for rounding, classes, least in (("round", 49, 0.136), ("ceil", 50, 0.132)):
        bins = targets.class_bins(dataclasses.replace(balanced, rounding=rounding), depth_histogram())
        assert (bins.classes, round(bins.keep.min(), 3)) == (classes, least)


def test_dense_weights_are_those_of_every_target_and_their_means_in_buckets():
    values = np.random.default_rng(0).gamma(2.0, 10.0, 500)
    method = Method(reweight="dense", dense_alpha=0.8, buckets=12)
    expected = dense_weights(values, 0.8)
    np.testing.assert_array_equal(targets.sample_weights(method, values), expected)
    labels = binning.assign(values, targets.bucket_edges(method, values))
    found = targets.bucket_weights(method, values)
    means = {bucket: expected[labels == bucket].mean() for bucket in np.unique(labels)}
    for bucket, weight in enumerate(found):
        assert weight == pytest.approx(means.get(bucket, max(means.values())))
    with pytest.raises(ValueError, match="'dense' needs every target"):
        targets.bucket_weights(method, depth_histogram())
    with pytest.raises(ValueError, match="'dense' has no buckets that lds or clip_high could change"):
        Method(reweight="dense", lds=True)
