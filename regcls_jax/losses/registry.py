"""The losses that a run can ask for by name. A new one is its function and one line here."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import optax
from jax import Array

from regcls_jax.losses import auxiliary, balanced_mse, regression
from regcls_jax.priors import MixturePrior

Loss = Callable[[Array, Array], Array]


class Hyperparameter(NamedTuple):
    """A number of a loss that a run may set, and that may be traced: its default, and its name in the function."""

    default: float
    keyword: str
    zero: bool = False  # whether 0 makes sense; a negative number never does


class RegressionLoss(NamedTuple):
    """A loss of the predicted value.

    `function(predictions, targets, **keywords)` gives values [...]. It gets its `hyperparameters` (field of a run ->
    what it is), and on request: a `prior` p~(y) of the training targets, "mixture" (Gaussians) or "points" (one per
    bucket); a `noise_sigma` (target units), learned beside the model; and, where it compares the examples of a `batch`,
    their `mask`.
    """

    function: Callable[..., Array]
    hyperparameters: Mapping[str, Hyperparameter] = {}
    prior: str = "none"
    noise: bool = False
    batch: bool = False

    def bind(
        self,
        hyperparameters: Mapping[str, Array | float],
        *,
        prior: MixturePrior | None = None,
        noise_sigma: Array | None = None,
        mask: Array | None = None,
    ) -> Loss:
        """The loss as a function of predictions and targets alone; what it did not ask for is left out."""
        keywords = _keywords(self.hyperparameters, hyperparameters)
        if self.prior != "none":
            keywords["prior"] = prior
        if self.noise:
            keywords["noise_sigma"] = noise_sigma
        if self.batch:
            keywords["mask"] = mask
        return functools.partial(self.function, **keywords)


class AuxiliaryLoss(NamedTuple):
    """A loss beside the regression: `function(prediction, auxiliary.Given, **hyperparameters)` gives values [...]."""

    function: Callable[..., Array]
    hyperparameters: Mapping[str, Hyperparameter] = {}

    def bind(self, hyperparameters: Mapping[str, Array | float]) -> auxiliary.Auxiliary:
        """The loss as a function of the prediction and the classes alone."""
        return functools.partial(self.function, **_keywords(self.hyperparameters, hyperparameters))


def _keywords(known: Mapping[str, Hyperparameter], values: Mapping[str, Array | float]) -> dict[str, object]:
    return {hyperparameter.keyword: values[name] for name, hyperparameter in known.items()}


FOCAL = {
    "focal_beta": Hyperparameter(0.2, "beta"),  # per target unit
    "focal_gamma": Hyperparameter(1.0, "gamma", zero=True),
}
REGRESSION: dict[str, RegressionLoss] = {
    "squared_error": RegressionLoss(regression.squared_error),
    "absolute_error": RegressionLoss(regression.absolute_error),
    "huber": RegressionLoss(regression.huber, {"huber_beta": Hyperparameter(1.0, "beta")}),  # target units
    "log_cosh": RegressionLoss(optax.losses.log_cosh),
    "focal_squared_error": RegressionLoss(regression.focal_squared_error, FOCAL),
    "focal_absolute_error": RegressionLoss(regression.focal_absolute_error, FOCAL),
    "gai": RegressionLoss(balanced_mse.gai, prior="mixture", noise=True),
    # BNI's histogram comes as points, a mixture without width: GAI of it is BNI.
    "bni": RegressionLoss(balanced_mse.gai, prior="points", noise=True),
    "bmc": RegressionLoss(balanced_mse.bmc, noise=True, batch=True),
}
AUXILIARY: dict[str, AuxiliaryLoss] = {
    "classification": AuxiliaryLoss(auxiliary.classification),
    "membership": AuxiliaryLoss(
        auxiliary.membership,
        {"membership_sigma": Hyperparameter(2.0, "sigma")},  # target units
    ),
}
HYPERPARAMETERS: dict[str, Hyperparameter] = {
    name: hyperparameter
    for loss in (*REGRESSION.values(), *AUXILIARY.values())
    for name, hyperparameter in loss.hyperparameters.items()
}
