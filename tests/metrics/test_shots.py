"""Shot metrics: golden numbers, a slow oracle, sums over parts, trivial and oracle predictors, bad input."""

import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from regcls_jax.metrics import shots as shot_metrics
from regcls_jax.metrics.shots import class_error_sums
from regcls_jax.trivial import oracle_bin

CLASSES = 24
TRAIN_COUNTS = np.array([0, 19, 20, 100, 101, 500, 7, 60])  # classes beyond 7 were never trained on


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 11, 400)
    labels = np.where(labels == 10, 23, labels)
    targets = labels.astype(np.float32)
    return (targets + rng.normal(0, 3, 400)).astype(np.float32), targets, labels


def sums_of(predictions, targets, labels, mask=None, classes=CLASSES):
    mask = np.ones(len(labels), bool) if mask is None else mask
    return class_error_sums(*map(jnp.asarray, (predictions, targets, labels, mask)), classes)


def slow_metrics(predictions, targets, labels, train_counts):
    """recipes 5.1 "Evaluation", sample by sample."""
    groups = {"all": [], "many": [], "medium": [], "few": []}
    for p, y, k in zip(predictions.astype(float), targets.astype(float), labels, strict=True):
        n = train_counts[k] if k < len(train_counts) else 0
        groups["all"].append((k, abs(p - y)))
        groups["many" if n > 100 else "few" if n < 20 else "medium"].append((k, abs(p - y)))
    result = {}
    for name, pairs in groups.items():
        errors = np.array([error for _, error in pairs])
        per_class = [np.mean([e for k, e in pairs if k == c]) for c in {k for k, _ in pairs}]
        mse = np.mean(errors**2)
        gm = np.prod(errors ** (1 / len(errors)))
        values = (errors.mean(), mse, mse**0.5, gm, np.mean(per_class), len(errors))
        result[name] = dict(zip(("mae", "mse", "rmse", "gm", "bmae", "count"), values, strict=True))
    return result


def assert_equal_metrics(got, expected, rtol=1e-5):
    assert got.keys() == expected.keys()
    for group in got:
        assert got[group].keys() == expected[group].keys()
        for name, value in expected[group].items():
            np.testing.assert_allclose(got[group][name], value, rtol=rtol, err_msg=f"{group} {name}")


def test_golden_shots(golden):
    data = np.load(golden / "shot_inputs.npz")
    expected = json.loads((golden / "shot_metrics.json").read_text())["metrics"]
    labels = data["labels"]
    sums = sums_of(data["preds"], labels, labels.astype(np.int32), classes=int(labels.max()) + 1)
    got = shot_metrics.shot_metrics(sums, np.bincount(data["train_labels"]))
    for published, ours in (("many", "many"), ("median", "medium"), ("low", "few")):
        for theirs, name in (("mse", "mse"), ("l1", "mae"), ("gmean", "gm")):
            assert got[ours][name] == pytest.approx(expected[published][theirs], rel=1e-6)
    assert sum(got[shot]["count"] for shot in shot_metrics.SHOTS) == got["all"]["count"] == 3000


@pytest.mark.parametrize("jit", [False, True])
def test_the_slow_oracle(sample, jit):
    sums = jax.jit(class_error_sums, static_argnums=4) if jit else class_error_sums
    got = sums(*map(jnp.asarray, sample), jnp.ones(400, bool), CLASSES)
    assert_equal_metrics(shot_metrics.shot_metrics(got, TRAIN_COUNTS), slow_metrics(*sample, TRAIN_COUNTS))


def test_limits_of_the_shots():
    groups = shot_metrics.shot_groups(TRAIN_COUNTS)
    assert {name: np.flatnonzero(member).tolist() for name, member in groups.items()} == {
        "many": [4, 5],
        "medium": [2, 3, 7],
        "few": [0, 1, 6],
    }
    groups = shot_metrics.shot_groups(TRAIN_COUNTS, many=60, few=1)
    assert {name: member.sum() for name, member in groups.items()} == {"many": 3, "medium": 4, "few": 1}


def test_ragged_batches_add_up_and_padding_counts_nothing(sample):
    whole = sums_of(*sample)
    parts = []
    for start in range(0, 400, 150):
        rows = [values[start : start + 150] for values in sample]
        size = len(rows[0])
        fill = (np.nan, np.inf, 10**6)  # padded rows may hold anything
        padded = [np.append(r, np.full(150 - size, f, r.dtype)) for r, f in zip(rows, fill, strict=True)]
        parts.append(sums_of(*padded, np.arange(150) < size))
    total = parts[0]
    for part in parts[1:]:
        total = jax.tree.map(operator.add, total, part)
    for got, expected in zip(total, whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_mask_is_a_subset(sample):
    mask = np.random.default_rng(1).random(400) < 0.6
    masked, subset = sums_of(*sample, mask), sums_of(*(values[mask] for values in sample))
    for got, expected in zip(masked, subset, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_four_devices_are_one(sample):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    put = NamedSharding(mesh, P("data"))
    arrays = [jax.device_put(jnp.asarray(values), put) for values in (*sample, np.ones(400, bool))]
    got = jax.jit(class_error_sums, static_argnums=4, out_shardings=NamedSharding(mesh, P()))(*arrays, CLASSES)
    for one, four in zip(sums_of(*sample), got, strict=True):
        assert len(four.sharding.device_set) == 4
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-5)


def test_dense_targets_of_any_shape(sample):
    flat = sums_of(*sample)
    shaped = class_error_sums(*(jnp.asarray(v).reshape(20, 4, 5) for v in sample), jnp.ones((20, 4, 5), bool), CLASSES)
    for got, expected in zip(shaped, flat, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_one_exact_prediction_makes_the_geometric_mean_zero(sample):
    predictions, targets, labels = sample
    row = np.flatnonzero(labels == 5)[0]
    predictions = predictions.copy()
    predictions[row] = targets[row]
    got = shot_metrics.shot_metrics(sums_of(predictions, targets, labels), TRAIN_COUNTS)
    assert got["all"]["gm"] == got["many"]["gm"] == 0
    assert got["few"]["gm"] > 0
    assert got["all"]["mae"] > 0


def test_a_group_without_test_samples_has_no_error():
    got = shot_metrics.shot_metrics(sums_of(np.ones(3), np.zeros(3), np.full(3, 5)), TRAIN_COUNTS)
    assert got["all"] == got["many"] == {"mae": 1, "mse": 1, "rmse": 1, "gm": 1, "bmae": 1, "count": 3}
    for name in ("medium", "few"):
        assert got[name].pop("count") == 0
        assert np.isnan(list(got[name].values())).all()


def test_balanced_mae_weights_ages_not_samples():
    labels = np.array([4, 4, 4, 5])
    got = shot_metrics.shot_metrics(sums_of(np.array([1.0, 1, 1, 9]), np.zeros(4), labels), TRAIN_COUNTS)
    assert got["many"]["mae"] == 3
    assert got["many"]["bmae"] == 5


def test_bad_input(sample):
    predictions, targets, labels = sample
    for bad in (-1, CLASSES):
        outside = np.where(np.arange(400) == 7, bad, labels)
        with pytest.raises(ValueError, match="outside the 24 classes 0 to 23"):
            shot_metrics.shot_metrics(sums_of(predictions, targets, outside), TRAIN_COUNTS)
    diverged = np.where(np.arange(400) == 7, np.nan, predictions)
    with pytest.raises(ValueError, match=f"errors of class {labels[7]} do not sum to a finite"):
        shot_metrics.shot_metrics(sums_of(diverged, targets, labels), TRAIN_COUNTS)
    with pytest.raises(ValueError, match=r"few-shot \(below 30\) and many-shot \(above 20\) classes overlap"):
        shot_metrics.shot_groups(TRAIN_COUNTS, many=20, few=30)
    for counts in ([1, -1], [[1]], [np.nan]):
        with pytest.raises(ValueError, match="non-negative histogram"):
            shot_metrics.shot_groups(np.array(counts))


def test_oracle_bin():
    train = np.array([1.0, 2.0, 3.0, 25.0, 29.0, 44.0])
    edges = np.array([0, 10, 20, 30, 40])
    targets = np.array([[0.0, 9.9, 10.0], [30.0, 99.0, -5.0]])
    # Means of the training targets, 44 in the last bin as it lies beyond; the centre of the empty second one.
    np.testing.assert_array_equal(oracle_bin(targets, edges, train), [[2, 2, 15], [44, 44, 2]])
    np.testing.assert_array_equal(oracle_bin(train, edges, train), [2, 2, 2, 27, 27, 44])


def test_oracle_bin_is_the_best_constant_per_bin_for_the_squared_error():
    train = np.random.default_rng(0).gamma(2, 10, 500)
    edges = np.linspace(0, 100, 11)
    best = np.mean((oracle_bin(train, edges, train) - train) ** 2)
    centres = np.mean((np.floor(train / 10) * 10 + 5 - train) ** 2)
    assert best < centres < train.var()
    with pytest.raises(ValueError, match="train_targets: 1 of 2 values are not finite, the first at row 1"):
        oracle_bin(train, edges, np.array([1.0, np.nan]))
