"""The objective: Equation 4, its scales, masks and weights; the class-keeping draw of Equation 13."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from regcls_jax import losses
from regcls_jax.losses.auxiliary import Given
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.objectives import keep_mask, masked_mean, objective
from regcls_jax.prediction import Prediction

N, CLASSES = 24, 5


def batch(classified=True, shape=(N,)):
    """What a model puts out and what the data hold."""
    rng = np.random.RandomState(0)
    outputs = {"value": jnp.array(rng.normal(size=shape), jnp.float32)}
    data = {"targets": jnp.array(rng.normal(size=shape), jnp.float32)}
    if classified:
        outputs["logits"] = jnp.array(rng.normal(size=(*shape, CLASSES)), jnp.float32)
        data["labels"] = jnp.array(rng.randint(0, CLASSES, shape))
    return outputs, data


def evaluate(outputs, data, **options):
    prediction = Prediction(outputs["value"], outputs.get("logits"))
    if "classes" in options or "axis" in options:
        layout = {name: options.pop(name) for name in ("classes", "axis") if name in options}
        return objective(prediction, data["targets"], given=Given(data["targets"], data["labels"], **layout), **options)
    return objective(prediction, data["targets"], data.get("labels"), **options)


@functools.partial(jax.jit, static_argnames=("regression", "axis"))
def total_and_gradient(outputs, data, **options):
    return jax.value_and_grad(lambda outputs: evaluate(outputs, data, **options)[0])(outputs)


def assert_close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), got, expected)


MASK = jnp.array(np.random.RandomState(1).uniform(size=N) < 0.6)
CLASS_MASK = jnp.array(np.random.RandomState(2).uniform(size=N) < 0.4)
EACH_REGRESSION = pytest.mark.parametrize("regression", [losses.squared_error, losses.absolute_error, losses.huber])


@pytest.mark.parametrize("lam", [0.0, 0.1, 100.0])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_total_is_scale_times_lambda_regression_plus_cross_entropy(lam, scale):
    outputs, data = batch()
    total, terms = evaluate(outputs, data, lam=lam, scale=scale)
    error = np.subtract(outputs["value"], data["targets"], dtype=np.float64)
    logits = np.asarray(outputs["logits"], np.float64)
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(N), data["labels"]]
    assert set(terms) == {"regression", "auxiliary"}
    assert terms["regression"] == pytest.approx(np.mean(error**2), rel=1e-6)
    assert terms["auxiliary"] == pytest.approx(entropy.mean(), rel=1e-6)
    assert total == pytest.approx(scale * (lam * np.mean(error**2) + entropy.mean()), rel=1e-6)


def test_without_logits_the_total_is_scale_times_lambda_regression():
    outputs, data = batch(classified=False)
    total, terms = evaluate(outputs, data, lam=7.0, scale=0.5)
    assert set(terms) == {"regression"}
    assert total == pytest.approx(3.5 * float(terms["regression"]), rel=1e-6)


@pytest.mark.parametrize("published", [0.1, 4.0])
def test_regression_plus_cls_over_lambda_is_scale_one_over_lambda(published):
    # recipes 4.3, item 3: what the image code minimises for lambda <= 1.
    outputs, data = batch()

    def image_code(outputs):
        entropy = jnp.mean(losses.cross_entropy(outputs["logits"], data["labels"]))
        return jnp.mean(losses.squared_error(outputs["value"], data["targets"])) + entropy / published

    ours = total_and_gradient(outputs, data, lam=published, scale=1 / published)
    assert_close(ours, jax.value_and_grad(image_code)(outputs))


def test_scale_and_lambda_act_on_the_gradients_linearly():
    outputs, data = batch()
    _, plain = total_and_gradient(outputs, data, lam=1.0, scale=1.0)
    _, changed = total_and_gradient(outputs, data, lam=30.0, scale=0.2)
    assert_close(changed, {"value": 6 * plain["value"], "logits": 0.2 * plain["logits"]})
    _, without_regression = total_and_gradient(outputs, data, lam=0.0, scale=1.0)
    assert not without_regression["value"].any()
    assert_close(without_regression["logits"], plain["logits"])


def test_golden_weighted_losses(golden):
    data = np.load(golden / "losses.npz")
    for name, regression in (("wmse", losses.squared_error), ("wl1", losses.absolute_error)):
        total, gradient = total_and_gradient(
            {"value": data["pred"]},
            {"targets": data["target"]},
            weights=data["weights"],
            regression=regression,
        )
        np.testing.assert_allclose(total, data[f"{name}_value"], rtol=1e-6)
        np.testing.assert_allclose(gradient["value"], data[f"{name}_grad"], rtol=1e-6)


@EACH_REGRESSION
def test_masks_select_the_subset_of_their_own_mean(regression):
    outputs, data = batch()
    weights = jnp.linspace(0.1, 2, N)
    options = {"lam": 3.0, "regression": regression}
    total, gradient = total_and_gradient(outputs, data, weights=weights, mask=MASK, class_mask=CLASS_MASK, **options)

    def on_subsets(outputs):
        kept = Prediction(outputs["value"][MASK])
        value, _ = objective(kept, data["targets"][MASK], weights=weights[MASK], **options)
        both = MASK & CLASS_MASK  # the mask bounds both means
        entropy = losses.cross_entropy(outputs["logits"][both], data["labels"][both])
        return value + jnp.mean(entropy)

    assert_close((total, gradient), jax.value_and_grad(on_subsets)(outputs))
    assert not gradient["value"][~MASK].any()
    assert not gradient["logits"][~(MASK & CLASS_MASK)].any()


def test_a_mask_of_everything_is_no_mask():
    outputs, data = batch()
    everything = jnp.ones(N, bool)
    masked = total_and_gradient(outputs, data, mask=everything, class_mask=everything)
    assert_close(masked, total_and_gradient(outputs, data))


@EACH_REGRESSION
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["value", "targets", "weights", "logits"])
def test_masked_examples_may_hold_anything(regression, bad, where):
    outputs, data = batch()
    options = {
        "mask": MASK,
        "class_mask": CLASS_MASK,
        "weights": jnp.linspace(0.1, 2, N),
        "regression": regression,
    }
    expected = total_and_gradient(outputs, data, **options)
    for holder in (outputs, data, options):
        if where in holder:
            kept = CLASS_MASK[:, None] if where == "logits" else MASK
            holder[where] = jnp.where(kept, holder[where], bad)
    assert_close(total_and_gradient(outputs, data, **options), expected)


def test_labels_of_masked_examples_do_not_matter():
    outputs, data = batch()
    expected = total_and_gradient(outputs, data, class_mask=CLASS_MASK)
    data["labels"] = jnp.where(CLASS_MASK, data["labels"], -1)
    assert_close(total_and_gradient(outputs, data, class_mask=CLASS_MASK), expected)


def test_with_nothing_kept_the_classification_loss_and_its_gradient_are_zero():
    # The published code takes the mean of no samples here: NaN (recipes 4.1, item 10).
    outputs, data = batch()
    nothing = jnp.zeros(N, bool)
    total, gradient = total_and_gradient(outputs, data, class_mask=nothing)
    plain_total, plain_gradient = total_and_gradient(*batch(classified=False))
    assert_close((total, gradient["value"]), (plain_total, plain_gradient["value"]))
    assert not gradient["logits"].any()
    total, gradient = total_and_gradient(outputs, data, mask=nothing, class_mask=nothing)
    assert total == 0
    assert not gradient["value"].any()


def test_padded_classes_on_the_first_axis_equal_the_plain_objective():
    outputs, data = batch()
    expected, gradient = total_and_gradient(outputs, data, lam=2.0)
    padded = outputs | {"logits": jnp.pad(outputs["logits"].T, ((0, 3), (0, 0)))}
    total, padded_gradient = total_and_gradient(padded, data, lam=2.0, classes=CLASSES, axis=0)
    assert_close(total, expected)
    gradient["logits"] = jnp.pad(gradient["logits"].T, ((0, 3), (0, 0)))
    assert_close(padded_gradient, gradient)


def test_pixels_are_reduced_once_over_all_of_them():
    outputs, data = batch(shape=(2, 3, 4))
    mask = jnp.array(np.random.RandomState(3).uniform(size=(2, 3, 4)) < 0.5)
    total, _ = evaluate(outputs, data, class_mask=mask)
    flat_outputs = {"value": outputs["value"].ravel(), "logits": outputs["logits"].reshape(-1, CLASSES)}
    flat_data = jax.tree.map(jnp.ravel, data)
    assert_close(total, evaluate(flat_outputs, flat_data, class_mask=mask.ravel())[0])


def test_lambda_scale_and_classes_compile_once():
    outputs, data = batch()
    data["labels"] = data["labels"] % 4
    traces = []

    @jax.jit
    def total(lam, scale, classes):
        traces.append(lam)
        return evaluate(outputs, data, lam=lam, scale=scale, classes=classes)[0]

    combinations = list(itertools.product((0.1, 10.0), (1.0, 2.0), (4, 5)))
    totals = [total(*combination) for combination in combinations]
    assert len(traces) == 1
    for (lam, scale, classes), got in zip(combinations, totals, strict=True):
        cut = outputs | {"logits": outputs["logits"][:, :classes]}
        assert_close(got, evaluate(cut, data, lam=lam, scale=scale)[0])


@pytest.mark.parametrize("missing", ["logits", "labels"])
def test_half_given_classification_is_refused(missing):
    outputs, data = batch()
    (outputs if missing == "logits" else data).pop(missing)
    with pytest.raises(
        ValueError, match={"logits": "needs a prediction with logits", "labels": "pass labels"}[missing]
    ):
        evaluate(outputs, data)


@pytest.mark.parametrize("name", ["mask", "class_mask", "weights"])
@pytest.mark.parametrize("shape", [(N, 1), (1,), (N + 1,)])
def test_masks_and_weights_of_another_shape_are_refused(name, shape):
    outputs, data = batch()
    # As users run it: only the tests forbid that ranks are promoted.
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=r"differ in shape"):
        evaluate(outputs, data, **{name: jnp.ones(shape, bool)})


@pytest.mark.parametrize("name", ["mask", "class_mask"])
def test_a_mask_of_numbers_is_refused(name):
    outputs, data = batch()
    with pytest.raises(ValueError, match=f"{name} must be bool .* got float32"):
        evaluate(outputs, data, **{name: 2 * jnp.ones(N)})


def test_the_mask_bounds_the_auxiliary_loss_too():
    outputs, data = batch()
    _, terms = evaluate(outputs, data, mask=MASK)
    expected = jnp.mean(losses.cross_entropy(outputs["logits"][MASK], data["labels"][MASK]))
    assert terms["auxiliary"] == pytest.approx(float(expected), rel=1e-6)


def test_a_mask_or_weight_per_example_fits_vector_targets():
    outputs, data = batch(classified=False, shape=(N, 3))
    weights = jnp.linspace(0.1, 2, N)
    total, gradient = total_and_gradient(outputs, data, mask=MASK, weights=weights)
    error = np.square(np.asarray(outputs["value"], float) - data["targets"])[MASK]
    assert total == pytest.approx((error * np.asarray(weights)[MASK, None]).mean(), rel=1e-6)
    assert not gradient["value"][~MASK].any()


def test_two_resolutions_have_a_mask_each():
    """As in depth: the value coarse, the classes fine."""
    coarse, targets = batch(classified=False, shape=(2, 3, 4))
    fine, classes = batch(shape=(2, 6, 8))
    mask = jnp.array(np.random.RandomState(3).uniform(size=(2, 3, 4)) < 0.5)
    fine_mask = jnp.array(np.random.RandomState(4).uniform(size=(2, 6, 8)) < 0.5)
    _, terms = objective(
        Prediction(coarse["value"], fine["logits"]),
        targets["targets"],
        given=Given(classes["targets"], classes["labels"]),
        mask=mask,
        class_mask=fine_mask,
    )
    assert_close(terms["regression"], evaluate(coarse, targets, mask=mask)[1]["regression"])
    entropy = losses.cross_entropy(fine["logits"], classes["labels"])
    assert_close(terms["auxiliary"], masked_mean(entropy, fine_mask))


def test_masked_mean_of_nothing_is_zero():
    value, gradient = jax.value_and_grad(masked_mean)(jnp.ones(3), jnp.zeros(3, bool))
    assert value == 0
    assert not gradient.any()


def test_keep_mask_keeps_each_class_with_its_probability():
    keep = jnp.array([1.0, 0.5, 0.05, 0.0])
    labels = jnp.tile(jnp.arange(4), (50, 1_000))
    kept = np.asarray(keep_mask(jax.random.key(0), labels, keep))
    assert kept.shape == labels.shape
    assert kept.dtype == bool
    n = 50_000
    for label, probability in enumerate(keep):
        count = int(kept[np.asarray(labels) == label].sum())
        # Exact two-sided test; the draw is fixed, a correct one fails the test for one seed in a million.
        assert stats.binomtest(count, n, float(probability)).pvalue > 1e-6


def test_keep_mask_is_drawn_afresh_at_every_step_and_alike_for_the_same_key():
    keep, labels = jnp.array([0.5]), jnp.zeros(10_000, int)
    key = jax.random.key(0)
    first, second, again = (keep_mask(jax.random.fold_in(key, step), labels, keep) for step in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    # Independent draws agree on half of the samples.
    assert stats.binomtest(int((first == second).sum()), 10_000, 0.5).pvalue > 1e-6


@pytest.mark.parametrize("axis", [-1, 0])
def test_memberships_take_the_place_of_the_labels(axis):
    outputs, data = batch()
    edges = jnp.linspace(-2, 2, CLASSES + 1)
    kept = np.asarray(CLASS_MASK)
    soft = losses.memberships(data["targets"], edges, 0.5)
    error = np.square(np.asarray(outputs["logits"], float) - soft).sum(1)[kept].mean()
    regression = np.square(np.asarray(outputs["value"], float) - data["targets"]).mean()
    # The targets of excluded memberships may be anything, and leave no gradient.
    targets = jnp.where(CLASS_MASK, data["targets"], jnp.nan)
    membership = AUXILIARY["membership"].bind({"membership_sigma": 0.5})

    def total(logits):
        return objective(
            Prediction(outputs["value"], logits if axis == -1 else logits.T),
            data["targets"],
            given=Given(targets, edges=edges, axis=axis),
            auxiliary=membership,
            lam=0.1,
            scale=10.0,
            class_mask=CLASS_MASK,
        )

    (value, terms), gradient = jax.value_and_grad(total, has_aux=True)(outputs["logits"])
    assert_close(terms, {"regression": regression, "auxiliary": error})
    assert_close(value, regression + 10 * error)
    expected = np.where(kept[:, None], 20 * (outputs["logits"] - soft) / kept.sum(), 0)
    assert_close(gradient, expected)


def test_padded_memberships_equal_plain_ones():
    outputs, data = batch()
    edges = jnp.linspace(-2, 2, CLASSES + 1)
    padded = jnp.pad(outputs["logits"], ((0, 0), (0, 3)), constant_values=7.0)
    more = jnp.pad(edges, (0, 3), mode="edge")
    membership = AUXILIARY["membership"].bind({"membership_sigma": 0.5})

    def terms(logits, edges, classes):
        given = Given(data["targets"], edges=edges, classes=classes)
        return objective(Prediction(outputs["value"], logits), data["targets"], given=given, auxiliary=membership)[1]

    assert_close(terms(padded, more, CLASSES), terms(outputs["logits"], edges, None))


def test_labels_and_given_exclude_each_other():
    outputs, data = batch()
    given = Given(data["targets"], data["labels"])
    with pytest.raises(ValueError, match="either labels or given"):
        objective(Prediction(**outputs), data["targets"], data["labels"], given=given)


def test_a_mask_that_fits_no_classes_needs_a_class_mask():
    coarse, targets = batch(classified=False, shape=(2, 3, 4))
    fine, classes = batch(shape=(2, 6, 8))
    prediction, given = Prediction(coarse["value"], fine["logits"]), Given(classes["targets"], classes["labels"])
    with pytest.raises(ValueError, match="does not fit the targets of the classes .* pass class_mask"):
        objective(prediction, targets["targets"], given=given, mask=jnp.ones((2, 3, 4), bool))


def test_the_mask_of_vector_targets_bounds_classes_of_one_of_them():
    outputs, data = batch(classified=False, shape=(N, 2))
    classified, classes = batch()
    given = Given(classes["targets"], classes["labels"])
    _, terms = objective(Prediction(outputs["value"], classified["logits"]), data["targets"], given=given, mask=MASK)
    expected = losses.cross_entropy(classified["logits"][MASK], classes["labels"][MASK])
    assert_close(terms["auxiliary"], jnp.mean(expected))


def test_weights_of_a_batch_loss_on_vectors_are_those_of_the_examples():
    outputs, data = batch(classified=False, shape=(N, 2))
    weights = jnp.linspace(0.1, 2, N)
    bmc = functools.partial(losses.bmc, noise_sigma=1.0, mask=MASK)
    _, terms = evaluate(outputs, data, regression=bmc, weights=weights, mask=MASK)
    values = losses.bmc(outputs["value"][MASK], data["targets"][MASK], noise_sigma=1.0)
    assert_close(terms["regression"], jnp.mean(values * weights[MASK]))


def test_lists_will_do():
    total, _ = objective(Prediction(jnp.array([1.0, 2.0])), [0.0, 0.0], weights=[1.0, 2.0], mask=[True, True])
    assert total == pytest.approx((1 + 8) / 2)
    assert masked_mean([1.0, 5.0], [True, False]) == 1
    assert keep_mask(jax.random.key(0), [0, 1], [1.0, 0.0]).tolist() == [True, False]


@pytest.mark.parametrize("label", [-1, 2, 7])
def test_a_label_outside_the_classes_has_no_loss_and_no_gradient(label):
    """4.3 gave 2.34 for -1 and for 4 of four classes alike; here the third and fourth logit are padding."""
    logits, labels = jnp.array([[0.1, 0.4, -0.2, 9.0], [0.3, 0.0, 1.0, 9.0]]), jnp.array([1, label])

    def loss(logits, mask=None):
        given = Given(jnp.zeros(2), labels, classes=2)
        return objective(Prediction(jnp.zeros(2), logits), jnp.zeros(2), given=given, mask=mask)[0]

    assert np.isnan(loss(logits))
    assert np.isnan(jax.grad(loss)(logits)).any()
    # Where it does not count, it does no harm.
    mask = jnp.array([True, False])
    alone = losses.cross_entropy(logits[:1], labels[:1], classes=2)[0]
    assert float(loss(logits, mask)) == pytest.approx(float(alone), rel=1e-6)
    assert np.isfinite(jax.grad(loss)(logits, mask)).all()


def test_a_label_outside_the_classes_is_kept_so_that_it_shows():
    kept = keep_mask(jax.random.key(0), jnp.array([-1, 0, 1, 2]), jnp.zeros(2))
    assert kept.tolist() == [True, False, False, True]
