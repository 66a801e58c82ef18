"""Re-weighting, LDS and mixtures: published numbers, golden weights, a naive oracle, bad input."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from regcls_jax import imbalance, priors
from regcls_jax.data import imdb_wiki
from regcls_jax.imbalance import LdsKernel, unevenness

AGE_EDGES = np.arange(122.0)
# recipes 2.2: the published age code limits the counts for "inverse" and not for "sqrt_inv".
PUBLISHED_CLIP = {"inverse": (5, 1000), "sqrt_inv": None}


def slow_weights(targets, edges, method, window, reflect, clip):
    """recipes 2.2, step by step."""
    labels = [max(sum(1 for edge in edges[1:-1] if t >= edge), 0) for t in targets]
    density = [float(labels.count(k)) for k in range(len(edges) - 1)]
    if clip is not None:
        density = [min(max(n, clip[0]), clip[1]) for n in density]
    if method == "sqrt_inv":
        density = [n**0.5 for n in density]
    half = len(window) // 2
    padded = np.pad(density, half, mode="symmetric") if reflect else np.pad(density, half)
    smooth = sliding_window_view(padded, len(window)) @ window
    weights = np.array([1 / smooth[k] for k in labels])
    return weights * len(weights) / weights.sum()


@pytest.mark.parametrize("kernel", imbalance.KERNELS)
@pytest.mark.parametrize(("size", "sigma"), [(5, 1), (5, 2), (9, 1), (9, 3)])
def test_golden_windows(golden, kernel, size, sigma):
    expected = np.load(golden / "lds.npz")[f"lds_window_{kernel}_{size}_{sigma}"]
    np.testing.assert_allclose(imbalance.lds_kernel(kernel, size, sigma), expected, rtol=1e-12)
    np.testing.assert_allclose(imbalance.lds_kernel(kernel, size, sigma, "sum"), expected / expected.sum(), rtol=1e-12)


def test_published_windows_of_feature_smoothing():
    # recipes 2.2, printed to six digits.
    window = imbalance.lds_kernel("gaussian", 5, 2, "sum")
    np.testing.assert_allclose(window, [0.186251, 0.205248, 0.217003, 0.205248, 0.186251], atol=5e-7)
    window = imbalance.lds_kernel("gaussian", 9, 2, "sum")
    np.testing.assert_allclose(window[:5], [0.03576, 0.066976, 0.121424, 0.176103, 0.199475], atol=5e-7)


@pytest.mark.parametrize("method", PUBLISHED_CLIP)
@pytest.mark.parametrize("lds", [None, LdsKernel()])
def test_golden_weights(golden, method, lds):
    data = np.load(golden / "lds.npz")
    if lds is not None:
        lds = lds._replace(truncate=method == "inverse")
    got = imbalance.label_weights(data["ages"], AGE_EDGES, method, lds=lds, clip=PUBLISHED_CLIP[method])
    expected = data[f"weights_{method}_{'nolds' if lds is None else 'lds'}"]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_published_weights_of_imdb_wiki():
    counts = imdb_wiki.train_counts()
    weights = imbalance.class_weights(counts, "sqrt_inv", lds=LdsKernel("gaussian", 5, 2))
    printed = ["29.91", "4.307", "0.6824", "1.698", "13.92", "34.45", "53.89"]
    assert [f"{weights[age]:.4g}" for age in (0, 10, 31, 60, 90, 100, 120)] == printed
    assert counts @ weights == pytest.approx(counts.sum())


def test_weights_of_samples_are_those_of_their_classes():
    counts = imdb_wiki.train_counts()
    ages = np.repeat(np.arange(121), counts.astype(int))
    ages[ages == 120] = 186  # the oldest published age, beyond the edges
    got = imbalance.label_weights(ages, AGE_EDGES, "inverse", lds=LdsKernel(), clip=(5, 1000))
    expected = imbalance.class_weights(counts, "inverse", lds=LdsKernel(), clip=(5, 1000))
    np.testing.assert_array_equal(got, expected[np.minimum(ages, 120)])


@pytest.mark.parametrize("method", ["inverse", "sqrt_inv"])
@pytest.mark.parametrize("boundary", imbalance.BOUNDARIES)
@pytest.mark.parametrize("clip", [None, (3, 40)])
def test_the_naive_oracle_on_float_labels_and_uneven_edges(method, boundary, clip):
    targets = np.random.default_rng(0).normal(2, 1.2, 300)  # some lie outside the edges
    edges = np.array([0, 0.3, 0.5, 1.1, 2, 2.5, 4, 5])
    lds = LdsKernel("laplace", 5, 1.5, boundary)
    got = imbalance.label_weights(targets, edges, method, lds=lds, clip=clip)
    window = imbalance.lds_kernel("laplace", 5, 1.5)
    np.testing.assert_allclose(
        got, slow_weights(targets, edges, method, window, boundary == "reflect", clip), rtol=1e-12
    )


def test_mean_one_any_shape_and_more_weight_for_rarer_targets():
    targets = np.random.default_rng(0).exponential(size=(50, 4, 2))
    edges = np.linspace(0, 10, 11)
    for method in imbalance.METHODS:
        weights = imbalance.label_weights(targets, edges, method)
        assert weights.shape == targets.shape
        assert weights.mean() == pytest.approx(1)
    counts = np.histogram(targets, edges)[0]
    occupied = counts > 0
    inverse = imbalance.class_weights(counts, "inverse")[occupied]
    np.testing.assert_allclose(inverse, targets.size / occupied.sum() / counts[occupied])
    np.testing.assert_array_equal(imbalance.label_weights(targets, edges, "none"), np.ones(targets.shape))


def test_empty_classes_far_from_the_data_have_the_largest_finite_weight():
    weights = imbalance.class_weights(np.array([100, 4, 0, 0, 0, 0]), "inverse", lds=LdsKernel("triang", 3, 1))
    assert np.all(np.isfinite(weights))
    # Class 2 has the smallest density that is not 0: half of its neighbour's 4.
    np.testing.assert_array_equal(weights[3:], weights[2])
    assert weights[2] == weights.max()


def test_the_recipe_of_nyud2():
    # recipes 2.2: buckets 7 to 99 of 0.1 m, the smoothing reflects, and nearer pixels count as bucket 7.
    counts = np.random.default_rng(0).integers(1, 200, 93)
    smooth = np.convolve(np.pad(counts, 2, mode="symmetric"), imbalance.lds_kernel("gaussian", 5, 2), "valid")
    expected = counts.sum() / np.sum(counts / smooth) / smooth
    lds = LdsKernel("gaussian", 5, 2, "reflect")
    np.testing.assert_allclose(imbalance.class_weights(counts, "inverse", lds=lds), expected, rtol=1e-12)
    depth = np.repeat(np.arange(7, 100) / 10 + 0.05, counts)
    depth[0] = 0.3
    got = imbalance.label_weights(depth, np.arange(7, 101) / 10, "inverse", lds=lds)
    np.testing.assert_allclose(got, np.repeat(expected, counts), rtol=1e-12)


def test_fit_mixture():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    targets = np.concatenate([rng.normal(20, 2, 3000), rng.normal(60, 5, 1000)])
    prior = priors.fit_mixture(targets.reshape(1000, 4), 2)
    order = np.argsort(prior.means)
    np.testing.assert_allclose(prior.means[order], [20, 60], atol=0.3)
    np.testing.assert_allclose(np.sqrt(prior.variances[order]), [2, 5], atol=0.2)
    np.testing.assert_allclose(prior.weights[order], [0.75, 0.25], atol=1e-3)
    again = priors.fit_mixture(targets, 2)
    for first, second in zip(prior, again, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("box", 5, 2), "unknown kernel 'box'; one of gaussian, triang, laplace"),
        (("gaussian", 4, 2), "size must be odd and positive, got 4"),
        (("gaussian", -1, 2), "size must be odd and positive, got -1"),
        (("laplace", 5, 0), "sigma must be positive, got 0"),
        (("gaussian", 5, 2, "mean"), "unknown normalization 'mean'"),
    ],
)
def test_bad_kernels(arguments, message):
    with pytest.raises(ValueError, match=message):
        imbalance.lds_kernel(*arguments)


@pytest.mark.parametrize(
    ("counts", "method", "options", "message"),
    [
        ([1, 2], "sqrt", {}, "unknown re-weighting 'sqrt'; one of none, inverse, sqrt_inv"),
        ([0, 0], "inverse", {}, "not all zero"),
        ([1, -2], "inverse", {}, "non-negative"),
        ([1, np.nan], "inverse", {}, "non-negative"),
        ([[1, 2]], "inverse", {}, r"histogram \[C\]"),
        ([1, 2], "none", {"lds": LdsKernel()}, "need a re-weighting method"),
        ([1, 2], "none", {"clip": (1, 2)}, "need a re-weighting method"),
        ([1, 2], "inverse", {"clip": (3, 2)}, r"clip must be .*, got \(3, 2\)"),
        ([1, 2], "inverse", {"clip": (0, 0)}, r"clip must be .*, got \(0, 0\)"),
        ([1, 2], "inverse", {"lds": LdsKernel(boundary="wrap")}, "unknown boundary 'wrap'"),
    ],
)
def test_bad_histograms_and_options(counts, method, options, message):
    with pytest.raises(ValueError, match=message):
        imbalance.class_weights(np.array(counts), method, **options)


def test_bad_targets_and_edges():
    with pytest.raises(ValueError, match="not finite, the first at row 1"):
        imbalance.label_weights(np.array([1.0, np.nan]), AGE_EDGES, "inverse")
    with pytest.raises(ValueError, match="not finite, the first at row 0"):
        priors.fit_mixture(np.array([np.inf, 1.0]), 1)
    for edges in ([0.0], [0.0, 2.0, 1.0], [[0.0, 1.0]]):
        with pytest.raises(ValueError, match="edges must be at least two increasing numbers"):
            imbalance.label_weights(np.array([1.0]), np.array(edges), "inverse")


def test_unevenness_is_0_for_an_even_histogram_and_near_1_for_one_place():
    assert unevenness([20, 20, 0, 20]) == pytest.approx(0, abs=1e-12), "an empty class is none"
    assert unevenness([10_000, *[15] * 19]) > 0.8
    shares = np.array([0.7, 0.2, 0.1])
    assert unevenness((1000 * shares).round()) == pytest.approx(1 + (shares * np.log(shares)).sum() / np.log(3))
    assert unevenness([5, 0]) == 0
    for wrong in ([], [0, 0], [-3, 2], [0.5, 1]):
        with pytest.raises(ValueError, match="counts must be non-negative whole numbers"):
            unevenness(wrong)
