"""ImbalanceWeights: the weights of the losses as a helper for any estimator."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

import regcls_jax as rc
from regcls_jax import binning


def test_equals_the_weights_of_the_losses():
    y = np.random.default_rng(0).gamma(2.0, size=500)
    model = rc.ImbalanceWeights(buckets=20, lds=True).fit(y)
    labels = binning.assign(y, model.edges_)
    counts = np.bincount(labels, minlength=20)
    expected = rc.weights.class_weights(counts, "sqrt_inv", lds=rc.weights.LdsKernel("gaussian", 5, 2.0))
    np.testing.assert_array_equal(model.transform(y), expected[labels])
    np.testing.assert_array_equal(clone(model).fit_transform(y), expected[labels])
    assert model.transform(y).mean() == pytest.approx(1)
    assert model.transform([1e9]) == expected[-1]


@pytest.mark.parametrize(
    ("y", "message"), [([1.0, np.nan], "row 1"), ([2.0, 2.0], "all targets are 2"), ([], "no samples")]
)
def test_targets_that_have_no_density(y, message):
    with pytest.raises(ValueError, match=message):
        rc.ImbalanceWeights().fit(y)


def test_it_loads_no_jax():
    code = "import sys, regcls_jax as rc; rc.ImbalanceWeights().fit_transform([1., 2., 4.])"
    code += "; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
