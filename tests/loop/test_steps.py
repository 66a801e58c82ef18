"""The gradient of a training step against NumPy: losses by hand, masks, padding, parts, frozen features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_oracle import assert_close, assert_same, by_hand, gradient_of, moved, network
from scipy import special
from small_network import AGES, BATCH, TRAIN_AGES, WIDTH, build, make_batch, start

from regcls_jax.loop.steps import train_step
from regcls_jax.losses.registry import AUXILIARY, AuxiliaryLoss

MASK = np.array([1, 0, 0, 1, 1, 0, 0, 1], bool)
CLASSES = {"classes": 5, "lam": 0.1, "scale": 10.0}


def entropy(logits, labels):
    return special.logsumexp(logits, axis=1) - logits[np.arange(len(logits)), labels]


def uniforms(step):
    """What keep masks compare with: the key of `build`'s seed, purpose (1), step and part (0)."""
    key = jax.random.key(3)
    for data in (1, step, 0):
        key = jax.random.fold_in(key, data)
    return np.asarray(jax.random.uniform(key, (BATCH,)))


def lds_weights():
    """recipes 2.2 by hand: square root, zero-padded window (its printed values), inverse, mean 1 over the samples."""
    years = np.minimum(TRAIN_AGES.astype(int), 120)
    counts = np.bincount(years, minlength=121)
    window = [0.858285, 0.945828, 1, 0.945828, 0.858285]
    weights = 1 / np.maximum(np.convolve(np.sqrt(counts), window, "same")[years], 1e-9)
    scale = len(years) / weights.sum()
    return {age: scale * weights[years == min(int(age), 120)][0] for age in AGES}


UNIFORM_LABELS = np.array([0, 0, 0, 1, 1, 3, 4, 4])  # of AGES in five classes of twenty years
WEIGHTS = np.array(list(lds_weights().values()))
MEAN, STD = TRAIN_AGES.astype(float).mean(), TRAIN_AGES.astype(float).std()


def soft_memberships():
    """HL-Gauss of AGES over five classes, sigma 2, with erf."""
    ages = np.minimum(AGES.astype(float), 100)
    below = special.erf((np.arange(0, 101, 20)[None] - ages[:, None]) / (2**0.5 * 2))
    return np.diff(below, axis=1) / (below[:, -1] - below[:, 0])[:, None]


def focal(value):
    error = np.abs(value - AGES)
    return error * (2 * special.expit(0.2 * error) - 1)


def huber(value):
    error = np.abs(value - AGES)
    return np.where(error < 1, error**2 / 2, error - 0.5)


ARMS = {
    "reg": ({}, lambda v, z: np.abs(v - AGES).mean()),
    "reg x lambda": ({"lam": 3.0, "scale": 0.5}, lambda v, z: 1.5 * np.abs(v - AGES).mean()),
    "mse": ({"regression": "squared_error", "learning_rate": 0.1}, lambda v, z: np.square(v - AGES).mean() * 0.1),
    "huber": ({"regression": "huber"}, lambda v, z: huber(v).mean()),
    "focal": ({"regression": "focal_absolute_error"}, lambda v, z: focal(v).mean()),
    "standardised": ({"output": "standardised"}, lambda v, z: np.abs(MEAN + STD * v - AGES).mean()),
    "lds": ({"reweight": "sqrt_inv", "lds": True}, lambda v, z: (WEIGHTS * np.abs(v - AGES)).mean()),
    # The published reg + cls / lambda of lambda .1.
    "reg_cls": (CLASSES, lambda v, z: np.abs(v - AGES).mean() + entropy(z, UNIFORM_LABELS).mean() / 0.1),
    "membership": (
        {**CLASSES, "auxiliary": "membership"},
        lambda v, z: np.abs(v - AGES).mean() + 10 * np.square(z - soft_memberships()).sum(1).mean(),
    ),
}


@pytest.mark.parametrize("name", ARMS)
def test_one_step_follows_the_gradient_of_the_formula(name):
    settings, loss = ARMS[name]
    engine = build(**settings)
    before, batch = start(engine), make_batch()
    after, terms = train_step(engine, before, batch)
    # The rate that makes squared errors small enough is in the formula.
    total, gradient, statistics = by_hand(engine, before, batch, loss)
    np.testing.assert_allclose(terms["loss"] * engine.run.learning_rate, total, rtol=1e-5)
    assert_close(gradient_of(before, after), gradient)
    assert_close(after.batch_stats, statistics)
    assert after.step == 1
    assert set(terms) == {"loss", "regression"} | ({"auxiliary"} if engine.run.classes else set())


# The points of BNI, as published.
WHOLE_YEARS = {"buckets": 200, "bucket_high": 200.0, "bucket_point": "mean"}


def balanced_mse(name):
    """recipes 2.4 by hand, as a function of value and noise sigma."""

    def loss(value, sigma):
        variance = sigma**2
        if name == "bmc":
            logits = -np.square(value[:, None] - AGES[None]) / (2 * variance)
            return entropy(logits, np.arange(BATCH)).mean()
        if name == "bni":
            years, counts = np.unique(TRAIN_AGES.astype(int), return_counts=True)
            points = [TRAIN_AGES[TRAIN_AGES.astype(int) == year].mean(dtype=float) for year in years]
            prior = points, np.zeros(len(years)), counts / counts.sum()
            own = np.square(value - AGES) / (2 * variance)
        else:
            prior = build(regression="gai", components=3).fitted.prior
            own = np.square(value - AGES) / (2 * variance) + np.log(variance) / 2
        centres, variances, weights = (np.asarray(part, float) for part in prior)
        total = variances + variance if name == "gai" else variance + 0 * variances
        logs = -np.square(value[:, None] - centres[None]) / (2 * total[None]) + np.log(weights)[None]
        logs = logs - (np.log(total) / 2)[None] if name == "gai" else logs
        return (own + special.logsumexp(logs, axis=1)).mean()

    return loss


@pytest.mark.parametrize("name", ["gai", "bmc", "bni"])
def test_balanced_mse_learns_its_noise_with_an_optimizer_of_its_own(name):
    engine = build(
        regression=name, components=3, noise_sigma=10.0, noise_learning_rate=0.03, learning_rate=0.01, **WHOLE_YEARS
    )
    before, batch = start(engine), make_batch()
    after, terms = train_step(engine, before, batch)
    formula = balanced_mse(name)
    # The factor 2 s^2 has no gradient of its own (recipes 2.4).
    _, gradient, _ = by_hand(engine, before, batch, lambda v, z: 0.01 * 2 * 100 * formula(v, 10.0))
    assert_close(gradient_of(before, after), gradient)
    prediction = network(
        engine.model, before.params["model"], before.batch_stats, batch, *np.float32([[[1]], [[0]]]), (jnp.zeros(8), 0)
    )[0][0]
    value = np.asarray(prediction, float)
    slope = 200 * (formula(value, 10.001) - formula(value, 9.999)) / 0.002
    # The first step of Adam is the rate times the sign, to the size of epsilon.
    expected = 10 - 0.03 * slope / (abs(slope) + 1e-8)
    assert float(after.params["noise_sigma"]) == pytest.approx(expected, rel=1e-6)
    assert float(terms["noise_sigma"]) == float(after.params["noise_sigma"])


def kept(draws, edges, keep):
    labels = np.searchsorted(edges[1:-1], AGES, side="right")
    return labels, draws < keep[labels]


def test_balanced_classes_mask_the_entropy_alone_afresh_at_every_step():
    engine = build(**CLASSES, balanced=True)
    batch, state, drawn = make_batch(), start(engine), set()
    for step in range(3):
        labels, keep = kept(uniforms(step), engine.fitted.edges, engine.fitted.keep)
        after, terms = train_step(engine, state._replace(step=jnp.int32(step)), batch)

        def loss(value, logits, labels=labels, keep=keep):
            return np.abs(value - AGES).mean() + 10 * (entropy(logits, labels) * keep).sum() / max(keep.sum(), 1)

        total, gradient, _ = by_hand(engine, state, batch, loss)
        np.testing.assert_allclose(terms["loss"], total, rtol=1e-5)
        assert_close(gradient_of(state, after), gradient)
        drawn.add(tuple(keep))
    assert len(drawn) > 1
    assert engine.fitted.keep.min() < 0.5


BALANCED_DATA = {"balanced_data": 5, "classes": 5, "lam": 0.1, "scale": 10.0}


def test_balanced_data_is_the_same_draw_for_both_arms_and_both_losses():
    reg = build(balanced_data=5)
    both = build(**BALANCED_DATA, balanced=True)
    batch, counts = make_batch(), set()
    for step in range(4):
        labels, keep = kept(uniforms(step), reg.fitted.data_edges, reg.fitted.data_keep)
        states = [start(engine)._replace(step=jnp.int32(step)) for engine in (reg, both)]
        _, one = train_step(reg, states[0], batch)
        after, two = train_step(both, states[1], batch)
        assert int(one["kept"]) == int(two["kept"]) == keep.sum() > 0
        np.testing.assert_allclose(one["regression"], two["regression"], rtol=1e-6)
        counts.add(tuple(keep))

        def loss(value, logits, labels=labels, keep=keep):
            return np.abs(value - AGES)[keep].mean() + 10 * entropy(logits, labels)[keep].mean()

        total, gradient, _ = by_hand(both, states[1], batch, loss)
        np.testing.assert_allclose(two["loss"], total, rtol=1e-5)
        assert_close(gradient_of(states[1], after), gradient)
    assert len(counts) > 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_of_which_balanced_data_keeps_nothing_teaches_nothing(accumulate):
    engine = build(**BALANCED_DATA, balanced=True, optimizer="adam", learning_rate=0.01, accumulate=accumulate)
    before, _ = train_step(engine, start(engine), make_batch())
    nothing = engine.fitted._replace(data_keep=np.zeros_like(engine.fitted.data_keep))
    after, terms = train_step(engine._replace(fitted=nothing), before, make_batch(1))
    assert_same((after.params, after.optimizer), (before.params, before.optimizer))
    assert after.step == before.step + 1
    assert {name: float(value) for name, value in terms.items()} == dict.fromkeys(terms, 0.0)
    # With its moments Adam would have moved on a gradient of 0.
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(before.optimizer))


@pytest.mark.parametrize(
    "settings",
    [
        {**CLASSES, "balanced": False, "reweight": "sqrt_inv"},
        {**CLASSES, "auxiliary": "membership"},
        {**CLASSES, "auxiliary": "hl_gauss"},
        {**CLASSES, "auxiliary": "corn"},
        {"auxiliary": "ordinal_entropy", "loss_in": "std", "output": "standardised"},
        {"auxiliary": "ranksim"},
        {"auxiliary": "conr", "conr_distance": 15.0},
        {"auxiliary": "rank_n_contrast"},
        {"regression": "bmc"},
        {"fds": "corrected"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_padding_changes_nothing(settings):
    engine = build(**settings)
    before = start(engine)
    whole = make_batch()
    short = {name: rows[MASK] for name, rows in whole.items()}
    # Padding may hold anything.
    padded = {**whole, "mask": jnp.array(MASK), "target": jnp.where(MASK, whole["target"], jnp.nan)}
    (got, got_terms), (expected, terms) = (train_step(engine, before, rows) for rows in (padded, short))
    assert_close(gradient_of(before, got), gradient_of(before, expected))
    assert_close((got.batch_stats, got_terms), (expected.batch_stats, terms))
    assert moved(before.params["model"], got.params["model"])


def test_accumulated_parts_are_weighted_by_their_samples():
    engine = build(**CLASSES, accumulate=2)
    before, batch = start(engine), make_batch(mask=[1, 0, 1, 0, 1, 1, 1, 0])
    after, terms = train_step(engine, before, batch)
    gradients, totals, counts, state = [], [], [], before
    for part in range(2):
        rows = slice(part, None, 2)  # every second one, so that rows stay on their device
        mine = {name: values[rows] for name, values in batch.items()}
        keep = np.asarray(mine["mask"])

        def loss(value, logits, rows=rows, keep=keep):
            error = np.abs(value - AGES[rows]) + 10 * entropy(logits, UNIFORM_LABELS[rows])
            return error[keep].mean()

        total, gradient, statistics = by_hand(engine, state, mine, loss)
        state = state._replace(batch_stats=statistics)
        gradients.append(gradient)
        totals.append(total)
        counts.append(keep.sum())
    assert counts == [4, 1]
    np.testing.assert_allclose(terms["loss"], np.average(totals, weights=counts), rtol=1e-5)
    expected = jax.tree.map(lambda *parts: np.average(parts, axis=0, weights=counts), *gradients)
    assert_close(gradient_of(before, after), expected)
    assert_close(after.batch_stats, state.batch_stats)


def test_a_retrained_value_head_leaves_the_features_but_their_running_statistics():
    head = build(init_from="reg", trainable="value_head", optimizer="adam", weight_decay=0.1, reweight="inverse")
    whole = build(reweight="inverse")
    before, batch = start(head), make_batch()
    after, _ = train_step(head, before, batch)
    assert moved(before.params["model"], after.params["model"]) == {"value_head"}
    expected, _ = train_step(whole, start(whole), batch)
    assert_same(after.batch_stats, expected.batch_stats)
    assert moved(before.batch_stats, after.batch_stats) == set(before.batch_stats)
    # No moments of what is frozen: features and bias of the value head, twice.
    assert sum(leaf.size for leaf in jax.tree.leaves(after.optimizer) if leaf.ndim) == 2 * (WIDTH + 1)
    # Its gradient is that of the whole network.
    plain = build(init_from="reg", trainable="value_head", reweight="inverse")
    got, _ = train_step(plain, before._replace(optimizer=start(plain).optimizer), batch)
    assert_same(got.params["model"]["value_head"], expected.params["model"]["value_head"])


def test_an_auxiliary_loss_without_classes_sees_the_features(monkeypatch):
    def small_features(prediction, given):
        return jnp.mean(prediction.features**2, axis=given.axis)

    # In place of a registered loss: the names are read when the package is imported.
    monkeypatch.setitem(AUXILIARY, "membership", AuxiliaryLoss(small_features, classes=False))
    engine = build(auxiliary="membership", lam=0.5)
    state, batch = start(engine), make_batch(mask=MASK)
    terms = train_step(engine, state, batch)[1]
    zeros = jnp.zeros((BATCH, WIDTH))
    outputs = network(engine.model, state.params["model"], state.batch_stats, batch, zeros + 1, zeros, (zeros[:, 0],))
    assert_close(terms["auxiliary"], np.mean(np.asarray(outputs[0][2])[MASK] ** 2))
    assert_close(terms["loss"], 0.5 * terms["regression"] + terms["auxiliary"])


def test_a_sharpness_aware_step_takes_the_gradient_uphill():
    engine, plain = build(sam_rho=0.3), build()
    before, batch = start(engine), make_batch()
    gradient = gradient_of(start(plain), train_step(plain, start(plain), batch)[0])
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
    uphill = jax.tree.map(lambda leaf, part: leaf + 0.3 * part / norm, before.params["model"], gradient)
    elsewhere = start(plain)._replace(params={"model": uphill})
    expected = gradient_of(elsewhere, train_step(plain, elsewhere, batch)[0])
    assert_close(gradient_of(before, train_step(engine, before, batch)[0]), expected)
    with pytest.raises(ValueError, match="sam_rho takes two gradients of a whole batch; set accumulate to 1"):
        build(sam_rho=0.3, accumulate=2)


def test_decay_of_kernels_leaves_biases_and_norms():
    every, kernels = (build(weight_decay=0.5, decayed=which) for which in ("all", "kernels"))
    before, batch = start(every), make_batch()
    plain = gradient_of(before, train_step(build(), before, batch)[0])
    found = gradient_of(before, train_step(kernels, start(kernels), batch)[0])

    def decayed(path, gradient, leaf):
        return gradient + 0.5 * leaf * (path[-1].key == "kernel")

    expected = jax.tree_util.tree_map_with_path(decayed, plain, before.params["model"])
    assert_close(found, expected)
    with pytest.raises(AssertionError):
        assert_close(gradient_of(before, train_step(every, before, batch)[0]), expected)
