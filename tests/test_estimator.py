"""RegClsRegressor: scikit-learn's own checks, and that it is the study engine's training."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import regcls_jax as rc
from regcls_jax.estimator import Distribution

SMALL = {"hidden": (8,), "epochs": 5, "learning_rate": 1e-2}
# As for scikit-learn's own networks: a row that is there twice meets two batches, a row of weight 2 one.
WEIGHTS = "batches are made of rows, whatever their weights"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}


@parametrize_with_checks(
    [rc.RegClsRegressor(classes=4, hidden=(8,), epochs=30, learning_rate=3e-2, batch_size=16)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn_takes_it(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return x, y, np.arange(len(y)) % 5 == 0


def test_it_learns_and_repeats_itself(diabetes):
    x, y, test = diabetes
    model = rc.RegClsRegressor(classes=10, lam=10.0, epochs=40, n_seeds=3)
    found = model.fit(x[~test], y[~test]).predict(x[test])
    assert np.sqrt(np.mean((found - y[test]) ** 2)) < 0.85 * y[test].std()
    again = pickle.loads(pickle.dumps(clone(model).fit(x[~test], y[~test])))
    np.testing.assert_array_equal(again.predict(x[test]), found)
    np.testing.assert_array_equal(model.predict(x[test][:3]), found[:3])
    one = clone(model).set_params(n_seeds=1, random_state=1).fit(x[~test], y[~test])
    assert not np.allclose(one.predict(x[test]), found)
    # The mean of three seeds, the first of which is what one seed gives.
    first = clone(model).set_params(n_seeds=1).fit(x[~test], y[~test]).predict(x[test])
    mine = [value[: test.sum()] for value, _ in model._predictions(x[test])]
    np.testing.assert_allclose(mine[0], first, rtol=1e-4)
    np.testing.assert_allclose(np.mean(mine, 0), found)


def test_a_distribution_has_the_quantiles_of_its_histogram():
    made = Distribution(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), np.array([0.0, 1.0, 3.0, 4.0]))
    np.testing.assert_allclose(made.quantile(0.25), [0.5, 3.25])
    np.testing.assert_allclose(made.quantile(0.75), [2.0, 3.75])
    np.testing.assert_allclose(made.quantile(0.0), [0.0, 3.0])
    np.testing.assert_allclose(made.quantile(1.0), [3.0, 4.0])
    np.testing.assert_allclose(made.mean(), [0.25 + 1.0, 3.5])
    with pytest.raises(ValueError, match="a quantile is a share between 0 and 1, got 2"):
        made.quantile(2)


def test_class_probabilities_predict(diabetes):
    x, y, test = diabetes
    model = rc.RegClsRegressor(classes=10, decoded="median", epochs=40).fit(x[~test], y[~test])
    distribution = model.predict_distribution(x[test])
    np.testing.assert_allclose(distribution.probabilities.sum(1), 1)
    assert (distribution.edges[0], distribution.edges[-1]) == (y[~test].min(), y[~test].max())
    np.testing.assert_allclose(model.predict(x[test]), distribution.quantile(0.5), rtol=1e-6)
    inside = np.mean((distribution.quantile(0.1) <= y[test]) & (y[test] <= distribution.quantile(0.9)))
    assert 0.6 < inside < 0.95
    with pytest.raises(ValueError, match="predicts a distribution"):
        rc.RegClsRegressor(classes=0, **SMALL).fit(x, y).predict_distribution(x)


@pytest.mark.parametrize(
    "settings",
    [
        {"auxiliary": "hl_gauss", "decoded": "expectation"},
        {"auxiliary": "corn", "decoded": "median"},
        {"auxiliary": "coral", "decoded": "expectation"},
        {"classes": 0, "auxiliary": "ranksim", "lam": 10.0},
        {"classes": 0, "auxiliary": "evidential", "decoded": "head"},
        {"classes": 0, "auxiliary": "uvote", "decoded": "head", "reweight": "sqrt_inv"},
    ],
)
def test_every_kind_of_auxiliary_loss_predicts_as_the_engine_measures_it(diabetes, settings):
    x, y, test = diabetes
    model = rc.RegClsRegressor(**{"classes": 10, **settings}, epochs=30).fit(x[~test], y[~test])
    found = model.predict(x[~test])
    assert np.mean(np.abs(found - y[~test])) == pytest.approx(model.models_[0].errors["train"]["mae"], rel=1e-4)
    assert np.mean(np.abs(model.predict(x[test]) - y[test])) < 0.9 * np.mean(np.abs(y[test] - np.median(y[~test])))
    if model.edges_ is not None:
        distribution = model.predict_distribution(x[test])
        assert distribution.probabilities.min() >= 0
        np.testing.assert_allclose(distribution.probabilities.sum(1), 1)


def test_too_few_rows_for_classes_leave_plain_regression():
    """Of whatever the classes were for."""
    x, y = np.arange(3.0)[:, None], np.arange(3.0)
    model = rc.RegClsRegressor(auxiliary="corn", decoded="median", **SMALL)
    assert np.isfinite(model.fit(x, y).predict(x)).all()
    with pytest.raises(ValueError, match="auxiliary 'evidential' reads no classes; set classes to 0"):
        rc.RegClsRegressor(auxiliary="evidential", decoded="head", **SMALL).fit(x, y)


def test_a_model_predicts_as_it_was_trained_whatever_its_parameters_are_now(diabetes):
    x, y, _ = diabetes
    model = rc.RegClsRegressor(classes=4, auxiliary="corn", decoded="median", **SMALL).fit(x, y)
    found = model.predict(x)
    model.set_params(auxiliary="evidential", decoded="head")
    np.testing.assert_array_equal(model.predict(x), found)


def test_weights_count(diabetes):
    x, y, _ = diabetes
    high = y > np.quantile(y, 0.8)
    model = rc.RegClsRegressor(classes=0, epochs=30)
    weighted = clone(model).fit(x, y, sample_weight=np.where(high, 20.0, 1.0)).predict(x)
    assert np.mean(np.abs(weighted - y)[high]) < 0.8 * np.mean(np.abs(model.fit(x, y).predict(x) - y)[high])
    # With classes alone, too: the cross-entropy has the weights as well.
    by_class = rc.RegClsRegressor(classes=10, decoded="expectation", lam=1e-6, epochs=30)
    found = [clone(by_class).fit(x, y, sample_weight=w).predict(x) for w in (None, np.where(high, 20.0, 1.0))]
    assert found[1].mean() > found[0].mean() + 10
    # A row of weight 0 is not there, whatever it holds.
    odd = np.where(high, 1e6, y)
    np.testing.assert_array_equal(
        clone(model).fit(x, odd, sample_weight=(~high).astype(float)).predict(x),
        clone(model).fit(x[~high], y[~high]).predict(x),
    )


def test_in_a_pipeline_and_a_search(diabetes):
    x, y, _ = diabetes
    search = GridSearchCV(
        make_pipeline(StandardScaler(), rc.RegClsRegressor(**SMALL, early_stopping=True)),
        {"regclsregressor__classes": [0, 8]},
        cv=2,
    )
    assert search.fit(x, y).best_params_["regclsregressor__classes"] in (0, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam": -1.0}, "lam must be positive"),
        ({"decoded": "mode"}, "unknown decoded 'mode'; one of value, expectation"),
        ({"hidden": ()}, "hidden must list the widths of at least one layer"),
        ({"auxiliary": "ranksim"}, "auxiliary 'ranksim' reads no classes; set classes to 0"),
        ({"regression": "hubble"}, "unknown regression 'hubble'"),
    ],
)
def test_a_wrong_setting_is_named(diabetes, settings, message):
    x, y, _ = diabetes
    with pytest.raises(ValueError, match=message):
        rc.RegClsRegressor(**settings).fit(x, y)
