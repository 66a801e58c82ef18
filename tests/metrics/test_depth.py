"""Depth metrics: the published evaluation, an oracle in float64, sums that any number of pixels fits in."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nyud2 import nyud2_counts

from regcls_jax import binning
from regcls_jax.metrics.depth import (
    SUMS,
    count_groups,
    depth_metrics,
    depth_sums,
    published_groups,
)
from regcls_jax.metrics.shots import SHOTS

EDGES = np.linspace(0, 10, 101)
PUBLISHED = {
    **{"mse": "MSE", "rmse": "RMSE", "mae": "MAE", "abs_rel": "ABS_REL", "log10": "LG10"},
    **{f"delta{power}": f"DELTA{power}" for power in (1, 2, 3)},
    "count": "NUM",
}


def groups_of(depths):
    return jnp.asarray(published_groups())[binning.assign(jnp.asarray(depths), EDGES)]


def sums_of(predictions, depths, valid=None):
    valid = np.ones(depths.shape, bool) if valid is None else valid
    return depth_sums(*map(jnp.asarray, (predictions, depths, valid)), groups_of(depths))


def maps(seed=0, shape=(3, 20, 30)):
    generator = np.random.default_rng(seed)
    depths = generator.uniform(0.7, 9.99, shape).astype(np.float32)
    return (depths * generator.lognormal(0, 0.3, shape)).astype(np.float32), depths


@pytest.mark.parametrize("images", [1, 8])
def test_the_published_evaluation(golden, images):
    with np.load(golden / "depth_inputs.npz") as file:
        predictions, depths = (file[name].reshape(images, -1) for name in ("pred", "depth"))
    found = depth_metrics(np.asarray(sums_of(predictions, depths)))
    published = json.loads((golden / "depth_metrics.json").read_text())
    for group, name in {"all": "overall", "many": "many", "medium": "medium", "few": "few"}.items():
        for ours, theirs in PUBLISHED.items():
            assert found[group][ours] == pytest.approx(published[name][theirs], rel=2e-6), (group, ours)


def test_an_oracle_in_float64():
    predictions, depths = maps()
    found = depth_metrics(np.asarray(sums_of(predictions, depths)))
    groups = np.asarray(groups_of(depths))
    for number, name in enumerate(SHOTS):
        p, d = (x[groups == number].astype(np.float64) for x in (predictions, depths))
        ratio = np.maximum(p / d, d / p)
        expected = {
            "mse": np.mean((p - d) ** 2),
            "rmse": np.sqrt(np.mean((p - d) ** 2)),
            "mae": np.mean(np.abs(p - d)),
            "abs_rel": np.mean(np.abs(p - d) / d),
            "log10": np.mean(np.abs(np.log10(p / d))),
            **{f"delta{power}": np.mean(ratio <= 1.25**power) for power in (1, 2, 3)},
            "count": len(p),
        }
        assert found[name] == pytest.approx(expected, rel=1e-5)
    assert found["all"]["count"] == depths.size


@pytest.mark.parametrize("jit", [False, True])
def test_a_mask_is_a_subset_whatever_the_rest_holds(jit):
    predictions, depths = maps()
    valid = np.random.default_rng(1).random(depths.shape) < 0.6
    function = jax.jit(depth_sums) if jit else depth_sums
    spoilt = np.where(valid, predictions, np.nan), np.where(valid, depths, np.nan)
    found = function(*map(jnp.asarray, spoilt), jnp.asarray(valid), groups_of(np.where(valid, depths, 1)))
    for image in range(len(depths)):
        kept = valid[image]
        alone = sums_of(predictions[image][kept][None], depths[image][kept][None])
        np.testing.assert_allclose(found[image], alone[0], rtol=1e-6)
    nothing = depth_metrics(np.asarray(sums_of(predictions, depths, np.zeros_like(valid))))
    assert nothing["all"]["count"] == 0
    assert np.isnan(nothing["all"]["rmse"])


def test_sums_of_an_image_are_exact_to_a_millionth_and_any_number_of_pixels_is_counted():
    predictions, depths = maps(shape=(2, 228, 304))
    found = np.asarray(sums_of(predictions, depths))
    exact = np.abs(predictions.astype(np.float64) - depths)
    assert found[..., SUMS.index("absolute")].sum(1) == pytest.approx(exact.sum((1, 2)), rel=1e-6)
    assert found[..., SUMS.index("squared")].sum(1) == pytest.approx((exact**2).sum((1, 2)), rel=1e-6)
    many = np.repeat(found[:1], 654, axis=0)  # 45 million pixels: more than float32 can count
    metrics = depth_metrics(many)["all"]
    assert metrics["count"] == 654 * 228 * 304
    assert metrics["mae"] == pytest.approx(exact[0].mean(), rel=1e-6)


def test_a_prediction_of_nothing_is_wrong_but_finite():
    depths = np.full((1, 4), 2.0, np.float32)
    found = depth_metrics(np.asarray(sums_of(np.array([[-1.0, 0.0, 2.0, 2.0]], np.float32), depths)))["all"]
    assert found["delta3"] == 0.5  # the published ratios call a negative depth right, and log10 is NaN
    assert np.isfinite(found["log10"])
    assert found["mae"] == pytest.approx((3 + 2) / 4)
    with pytest.raises(ValueError, match="the errors of image 1 do not sum to a finite number"):
        depth_metrics(np.stack([np.ones((3, 8)), np.full((3, 8), np.nan)]))


def test_the_published_list_follows_from_the_published_counts():
    np.testing.assert_array_equal(count_groups(nyud2_counts()), published_groups())
    sizes = np.bincount(published_groups(), minlength=3)
    assert sizes.tolist() == [39, 15, 46]
