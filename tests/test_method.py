"""The fields that both engines share: a hyperparameter of a loss is a field, every mistake one message."""

import dataclasses

import pytest

from regcls_jax.loop.runs import LoopRun
from regcls_jax.losses.registry import AUXILIARY, HYPERPARAMETERS, REGRESSION
from regcls_jax.method import Method
from regcls_jax.study.runs import Run


@pytest.mark.parametrize("kind", [Method, Run, LoopRun])
def test_every_hyperparameter_of_a_registered_loss_is_a_field_of_every_run(kind):
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    for loss in (*REGRESSION.values(), *AUXILIARY.values()):
        for name, hyperparameter in loss.hyperparameters.items():
            assert fields[name] == hyperparameter.default


def test_only_hyperparameters_of_the_losses_in_use_are_given_to_them():
    assert Method().hyperparameters() == {}
    assert Method(regression="huber", huber_beta=3.0).hyperparameters() == {"huber_beta": 3.0}
    both = Method(regression="focal_absolute_error", classes=4, auxiliary="membership")
    assert both.hyperparameters() == {name: HYPERPARAMETERS[name].default for name in both.hyperparameters()}
    assert set(both.hyperparameters()) == {"focal_beta", "focal_gamma", "membership_sigma"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"huber_beta": 0.0}, "method: huber_beta must be positive, got 0.0"),
        ({"focal_gamma": -1.0}, "method: focal_gamma must not be negative, got -1.0"),
        ({"low": 3.0, "high": 3.0}, "method: low 3.0 is not below high 3.0"),
        ({"low": float("inf")}, "method: low must be finite, got inf"),
        ({"low": "0"}, "method: low must be a number, got '0'"),
        ({"low_quantile": 0.9, "high_quantile": 0.1}, "method: quantiles must be 0 <= low < high <= 1"),
        ({"high_quantile": 1.5}, "method: quantiles must be 0 <= low < high <= 1"),
        ({"schedule": "linear"}, "method: unknown schedule 'linear'; one of constant, cosine"),
        ({"schedule": "cosine", "boundaries": (1,)}, "method: boundaries go with schedule 'constant', not 'cosine'"),
        ({"boundaries": [1]}, r"method: boundaries must be a tuple of epochs, got \[1\]"),
        ({"regression": "cubed"}, "method: unknown regression 'cubed'; one of squared_error, "),
        ({"auxiliary": "membership"}, "method: auxiliary 'membership' needs classes >= 2"),
        ({"optimizer": 3}, "method: unknown optimizer 3; one of adam, sgd"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Method(**settings)
