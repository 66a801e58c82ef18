"""FDS: golden buffers, a slow oracle of both modes, parts and masks and devices, gradients, bad input."""

import jax
import jax.numpy as jnp
import naive_fds
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from regcls_jax import binning
from regcls_jax import feature_smoothing as fds
from regcls_jax.feature_smoothing import FdsConfig

# The published names of the state's buffers, in its order.
LAST_EPOCH = [f"{kind}_{moment}_last_epoch" for kind in ("running", "smoothed") for moment in ("mean", "var")]
BUFFERS = ("running_mean", "running_var", *LAST_EPOCH, "num_samples_tracked")
K, F = 12, 5
batch_statistics = jax.jit(fds.batch_statistics, static_argnums=3)
update = jax.jit(fds.update, static_argnums=3)
smooth = jax.jit(fds.smooth, static_argnums=4)
age_buckets = jax.jit(fds.age_buckets, static_argnames=("buckets", "start"))


def epochs_of_samples(count=4, size=300):
    """Per epoch (features [n, F], buckets [n]); bucket 3 is never seen, bucket 9 only from epoch 2, bucket 5 once."""
    rng = np.random.default_rng(0)
    result = []
    for epoch in range(count):
        buckets = rng.choice([0, 1, 2, 4, 6, 7, 8, 10, 11, -1], size)
        buckets[0] = 5
        if epoch >= 2:
            buckets[1:8] = 9
        features = rng.normal(buckets[:, None] * 0.5, 1 + 0.1 * buckets[:, None].clip(0), (size, F)) + 3
        result.append((features.astype(np.float32), buckets.astype(np.int32)))
    return result


def statistics_of(features, buckets, mask=None):
    mask = np.ones(buckets.shape, bool) if mask is None else mask
    return batch_statistics(jnp.asarray(features), jnp.asarray(buckets), jnp.asarray(mask), K)


def assert_trees_close(got, expected, rtol=1e-5, atol=1e-5):
    for name, a, b in zip(got._fields, got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


def test_golden_epochs(golden):
    data = np.load(golden / "fds.npz")
    config, state = FdsConfig(), fds.init(100, 8, FdsConfig())
    labels = jnp.asarray(data["labels"])
    buckets = age_buckets(labels)
    for epoch in range(3):
        features = jnp.asarray(data[f"feats{epoch}"])
        if epoch > 0:
            got = smooth(state, features[:64], age_buckets(labels[:64]), epoch, config)
            np.testing.assert_allclose(got, data[f"smoothed_out{epoch}"], rtol=1e-5, atol=1e-6)
        statistics = fds.batch_statistics(features, buckets, buckets >= 0, 100)
        state = update(state, statistics, epoch, config)
        for name, got in zip(BUFFERS, state[:7], strict=True):
            np.testing.assert_allclose(got, data[f"{name}_after{epoch}"], rtol=1e-5, atol=1e-6, err_msg=name)
    assert not np.allclose(got, data["num_samples_tracked_after0"])


@pytest.mark.parametrize("mode", fds.MODES)
@pytest.mark.parametrize("options", [{}, {"start_update": 1, "start_smooth": 2, "kernel": "triang", "momentum": 0.5}])
@pytest.mark.parametrize("clip", [(0.1, 10.0), (0.95, 1.02)])
def test_the_slow_oracle(mode, options, clip):
    config = FdsConfig(mode=mode, clip=clip, **options)
    state, slow = fds.init(K, F, config), naive_fds.NaiveFds(config, K, F)
    for epoch, (features, buckets) in enumerate(epochs_of_samples()):
        got = smooth(state, jnp.asarray(features), jnp.asarray(buckets), epoch, config)
        np.testing.assert_allclose(got, slow.smooth(features, buckets, epoch), rtol=2e-5, atol=2e-5)
        state = update(state, statistics_of(features, buckets), epoch, config)
        if epoch >= config.start_update:
            slow.update(features, buckets, epoch)
        for moment in naive_fds.MOMENTS:
            for suffix, expected in zip(("mean", "var"), getattr(slow, moment), strict=True):
                np.testing.assert_allclose(getattr(state, f"{moment}_{suffix}"), expected, rtol=2e-5, atol=2e-5)
        np.testing.assert_array_equal(state.count, slow.seen)


def test_when_each_mode_starts_to_smooth():
    changed = {}
    for mode in fds.MODES:
        config = FdsConfig(mode=mode)
        state = fds.init(K, F, config)
        changed[mode] = []
        for epoch, (features, buckets) in enumerate(epochs_of_samples()):
            got = smooth(state, jnp.asarray(features), jnp.asarray(buckets), epoch, config)
            changed[mode].append(bool(np.any(got != features)))
            state = update(state, statistics_of(features, buckets), epoch, config)
    # To the bit the identity until then; quirk 3 is why the published code is an epoch late.
    assert changed == {
        "published": [False, False, True, True],
        "published_depth": [False, False, True, True],
        "corrected": [False, True, True, True],
    }


def test_corrected_statistics_stand_still_with_the_features_and_smooth_onto_their_targets():
    config = FdsConfig(mode="corrected", clip=(1e-6, 1e6))
    features, buckets = epochs_of_samples(1)[0]
    state = fds.init(K, F, config)
    for epoch in range(3):
        state = update(state, statistics_of(features, buckets), epoch, config)
    after = statistics_of(smooth(state, jnp.asarray(features), jnp.asarray(buckets), 3, config), buckets)
    several = np.asarray(after.count) > 1
    np.testing.assert_allclose(after.mean[several], state.smoothed_mean[several], rtol=1e-4, atol=1e-4)
    variance = after.squares[several] / (after.count[several][:, None] - 1)
    np.testing.assert_allclose(variance, state.smoothed_var[several], rtol=1e-4)
    # One sample has no variance, and a bucket never seen has nothing: both stay.
    assert after.count[5] == 1
    np.testing.assert_array_equal(after.mean[5], features[0])
    np.testing.assert_array_equal(state.smoothed_mean[3], np.zeros(F))


def test_batches_are_the_whole_and_a_mask_is_a_subset():
    features, buckets = epochs_of_samples(1)[0]
    whole = statistics_of(features, buckets)
    total = fds.empty_statistics(K, F)
    for rows in np.split(np.arange(300), 3):
        total = fds.merge(total, statistics_of(features[rows], buckets[rows]))
    assert_trees_close(total, whole)
    mask = np.random.default_rng(1).random(300) < 0.5
    padded = np.where(mask[:, None], features, np.nan)
    assert_trees_close(statistics_of(padded, buckets, mask), statistics_of(features[mask], buckets[mask]))
    assert_trees_close(statistics_of(features.reshape(30, 10, F), buckets.reshape(30, 10)), whole)
    nothing = statistics_of(features, buckets, np.zeros(300, bool))
    assert_trees_close(nothing, fds.empty_statistics(K, F), atol=0)


def test_a_variance_far_below_the_mean_survives_float32():
    rng = np.random.default_rng(0)
    features = rng.normal(3000, 0.5, (2000, F)).astype(np.float32)
    buckets = rng.integers(0, K, 2000).astype(np.int32)
    total = fds.empty_statistics(K, F)
    for rows in np.split(np.arange(2000), 10):
        total = fds.merge(total, statistics_of(features[rows], buckets[rows]))
    expected = np.stack([features[buckets == k].astype(float).var(0, ddof=1) for k in range(K)])
    np.testing.assert_allclose(total.squares / (total.count[:, None] - 1), expected, rtol=2e-3)


def test_four_devices_are_one():
    config = FdsConfig(mode="corrected")
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    def epoch(state, features, buckets):
        statistics = fds.batch_statistics(features, buckets, buckets >= 0, K)
        state = update(state, statistics, 0, config)
        return state, smooth(state, features, buckets, 1, config)

    arrays = tuple(map(jnp.asarray, epochs_of_samples(1)[0]))
    state, smoothed = jax.jit(epoch)(fds.init(K, F, config), *arrays)
    sharded = jax.jit(epoch, in_shardings=(everywhere, split, split), out_shardings=(everywhere, split))
    four, smoothed_four = sharded(fds.init(K, F, config), *(jax.device_put(a, split) for a in arrays))
    assert len(smoothed_four.sharding.device_set) == 4
    assert not smoothed_four.sharding.is_fully_replicated
    assert_trees_close(four, state)
    np.testing.assert_allclose(smoothed_four, smoothed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", fds.MODES)
def test_jit_with_a_traced_epoch_and_a_donated_state_is_no_jit(mode):
    config = FdsConfig(mode=mode)
    jitted = jax.jit(fds.update, static_argnums=3, donate_argnums=0)
    plain, traced = fds.init(K, F, config), fds.init(K, F, config)
    for epoch, sample in enumerate(epochs_of_samples()):
        plain = fds.update(plain, statistics_of(*sample), epoch, config)
        traced = jitted(traced, statistics_of(*sample), jnp.int32(epoch), config)
        assert_trees_close(traced, plain, rtol=1e-6, atol=1e-6)
        features, buckets = map(jnp.asarray, sample)
        got = smooth(traced, features, buckets, jnp.int32(epoch), config)
        expected = fds.smooth(plain, features, buckets, epoch, config)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert traced.epoch.dtype == jnp.int32


def smoothing_state(mode="corrected"):
    config = FdsConfig(mode=mode)
    state = fds.init(K, F, config)
    for epoch, sample in enumerate(epochs_of_samples(3)):
        state = update(state, statistics_of(*sample), epoch, config)
    return state, config


def test_uncalibrated_rows_stay_to_the_bit_whatever_they_hold():
    state, config = smoothing_state()
    features, buckets = (jnp.asarray(a) for a in epochs_of_samples()[3])
    features = jnp.where((buckets == -1)[:, None], jnp.float32(np.inf), features)
    got = np.asarray(smooth(state, features, buckets, 3, config))
    alone = np.asarray(buckets == -1)
    assert alone.sum() > 5
    assert np.isinf(got[alone]).all()
    assert np.isfinite(got[~alone]).all()
    np.testing.assert_array_equal(got[np.asarray(buckets) == 3], features[np.asarray(buckets) == 3])


def test_features_without_variance_stay():
    state, config = smoothing_state()
    # Bucket 0: one dimension has none; bucket 1: every one has less than can be told from none.
    last_var = state.last_var.at[0, 2].set(0).at[1].set(1e-12)
    features, buckets = jnp.ones((3, F)), jnp.array([0, 1, 2])
    got = np.asarray(smooth(state._replace(last_var=last_var), features, buckets, 3, config))
    np.testing.assert_array_equal(got == 1, [np.arange(F) == 2, np.ones(F), np.zeros(F)])


def test_half_precision_features_stay_half_precision():
    state, config = smoothing_state()
    features, buckets = (jnp.asarray(a) for a in epochs_of_samples()[3])
    got = smooth(state, features.astype(jnp.bfloat16), buckets, 3, config)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        got.astype(np.float32), smooth(state, features, buckets, 3, config), rtol=2e-2, atol=0.05
    )


@pytest.mark.parametrize("mode", fds.MODES)
def test_gradients_reach_the_features_and_not_the_state(mode):
    state, config = smoothing_state(mode)
    features, buckets = (jnp.asarray(a) for a in epochs_of_samples()[3])
    moments, rest = state[:6], state[6:]

    def loss(moments, features):
        return jnp.sum(smooth(fds.State(*moments, *rest), features, buckets, 3, config))

    into_state, into_features = jax.grad(loss, argnums=(0, 1))(moments, features)
    for gradient in into_state:
        np.testing.assert_array_equal(gradient, np.zeros((K, F)))
    active = np.asarray(state.last_var).sum(1) > 1e-10
    ratio = np.clip(state.smoothed_var / np.where(state.last_var == 0, 1, state.last_var), *config.clip)
    scale = np.where(active[:, None], np.sqrt(ratio), 1)[buckets]
    expected = np.where(np.asarray(buckets)[:, None] >= 0, scale, 1)
    np.testing.assert_allclose(into_features, expected, rtol=1e-5)
    assert np.any(expected != 1)


def test_an_old_epoch_and_one_before_the_start_change_nothing():
    state, config = smoothing_state("published")
    statistics = statistics_of(*epochs_of_samples()[3])
    assert_trees_close(update(state, statistics, 1, config), state, rtol=0, atol=0)
    late = FdsConfig(start_update=2)
    state = fds.init(K, F, late)
    assert_trees_close(update(state, statistics, 1, late), state, rtol=0, atol=0)


def test_age_buckets_by_the_published_rule():
    ages = jnp.array([0.0, 1, 2.7, 50, 98, 100, 186, -1])
    # Neither 0 in the second call nor 99 in the first occurs.
    assert age_buckets(ages).tolist() == [0, 1, 2, 50, 98, -1, -1, 0]
    assert age_buckets(jnp.array([-1.0, 1, 99, 100, 186])).tolist() == [-1, 1, 99, 99, 99]
    # What occurs may be decided elsewhere, as in the pass over an epoch.
    assert age_buckets(ages, present=jnp.array([99.0])).tolist() == [-1, 1, 2, 50, 98, 99, 99, -1]
    # AgeDB: bucket 0 is the age of 3.
    assert age_buckets(jnp.array([1.0, 3, 4, 99]), start=3).tolist() == [0, 0, 1, 96]
    assert age_buckets(jnp.array([1, 2, 4]), start=3).tolist() == [-1, -1, 1]


def test_padded_rows_have_no_bucket_and_do_not_occur():
    ages, mask = jnp.array([[120.0, 99.0], [30.0, 31.0]]), jnp.array([[True, False], [True, False]])
    assert age_buckets(ages, mask).tolist() == [[-1, -1], [30, -1]]
    assert age_buckets(ages, mask | True).tolist() == [[99, 99], [30, 31]]
    assert age_buckets(jnp.array([np.nan, 30.0])).tolist() == [-1, 30]


def test_buckets_of_arbitrary_edges():
    edges = np.array([0, 0.3, 1, 2.5, 5])
    config = FdsConfig(size=3, mode="corrected")
    scores = np.random.default_rng(0).uniform(0, 5, 200).astype(np.float32)
    features = jnp.asarray(np.random.default_rng(1).normal(scores[:, None], 1, (200, F)), jnp.float32)
    buckets = jnp.asarray(binning.assign(scores, edges))
    state = fds.init(4, F, config)
    state = update(state, fds.batch_statistics(features, buckets, buckets >= 0, 4), 0, config)
    assert state.count.sum() == 200
    assert np.any(smooth(state, features, buckets, 1, config) != features)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fixed"}, "unknown FDS mode 'fixed'; one of published, published_depth, corrected"),
        ({"kernel": "box"}, "unknown kernel 'box'"),
        ({"size": 25}, "size 25 needs more than 12 buckets, got 12"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"clip": (2.0, 1.0)}, r"clip must be 0 < low <= high, got \(2.0, 1.0\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        fds.init(K, F, FdsConfig(**options))


def test_features_that_do_not_fit():
    state, config = smoothing_state()
    for shape in ((3, F + 1), (4, F)):
        with pytest.raises(ValueError, match="do not fit buckets"):
            smooth(state, jnp.zeros(shape), jnp.zeros(3, jnp.int32), 1, config)
