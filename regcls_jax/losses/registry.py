"""The losses by name. To add one, write its function and register it here, in one line."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import optax
from jax import Array
from jax.typing import ArrayLike

from regcls_jax.losses import auxiliary, balanced_mse, classification, heads, ordinal, regression
from regcls_jax.priors import MixturePrior

Loss = Callable[[Array, Array], Array]


class Hyperparameter(NamedTuple):
    """A number of a loss that a run may set; it may be traced."""

    default: float
    keyword: str  # its name in the loss function
    zero: bool = False  # whether 0 is allowed; negative numbers never are


class RegressionLoss(NamedTuple):
    """A loss of the predicted value: `function(predictions, targets, **keywords)` gives values [...].

    The keywords are its hyperparameters and what it asks for with `prior`, `noise` and `batch`.
    """

    function: Callable[..., Array]
    hyperparameters: Mapping[str, Hyperparameter] = {}  # by field of a run
    prior: str = "none"  # takes p~(y) of the training targets: "mixture" (Gaussians) or "points" (one per bucket)
    noise: bool = False  # takes `noise_sigma` (target units), which is learned along with the model
    batch: bool = False  # compares the examples of a batch, so it takes their `mask`

    def bind(
        self,
        hyperparameters: Mapping[str, Array | float],
        *,
        prior: MixturePrior | None = None,
        noise_sigma: Array | None = None,
        mask: Array | None = None,
        unit: ArrayLike | None = None,
    ) -> Loss:
        """The loss as a function of predictions and targets alone; arguments it does not take are ignored.

        `unit`: errors are measured in it (target units; [] or [t]); hyperparameters in target units are then, too.
        """
        keywords = _keywords(self.hyperparameters, hyperparameters)
        if self.prior != "none":
            keywords["prior"] = prior
        if self.noise:
            keywords["noise_sigma"] = noise_sigma
        if self.batch:
            keywords["mask"] = mask
        loss = functools.partial(self.function, **keywords)
        if unit is None:
            return loss
        return lambda predictions, targets: loss(predictions / unit, targets / unit)


class ValueHead(NamedTuple):
    """A head of its own that an auxiliary loss has in the place of a class head.

    `value(outputs, axis=)` reads [..., outputs] as a value and its spread, both [...] in the unit of the outputs.
    """

    outputs: int
    value: Callable[..., tuple[Array, Array]]


class AuxiliaryLoss(NamedTuple):
    """A loss added to the regression: `function(prediction, auxiliary.Given, **hyperparameters)` gives values [...].

    `probabilities(logits, classes=, axis=)` is what it makes of the class head: [..., C] of the real `classes`.
    """

    function: Callable[..., Array]
    hyperparameters: Mapping[str, Hyperparameter] = {}
    classes: bool = True  # reads the class head; False: sees value and features alone, so it goes with plain regression
    edges: bool = False  # needs the edges of the classes
    one_direction: bool = False  # its class head has one weight vector, and a bias per class
    head: ValueHead | None = None  # instead of classes; decoded "head" predicts with it
    weights: str = "none"  # of the examples: "optional" or "needed" where it takes them
    probabilities: Callable[..., Array] = classification.softmax

    @property
    def compares(self) -> bool:
        """Whether it compares the examples of a batch: it has no head of its own and reads features."""
        return not self.classes and self.head is None

    @property
    def takes_weights(self) -> bool:
        """Whether the weights of the examples are its own; those of other losses are the regression loss's."""
        return self.weights != "none"

    def bind(self, hyperparameters: Mapping[str, Array | float]) -> auxiliary.Auxiliary:
        """The loss as a function of the prediction and what it is given alone."""
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
    # The prior comes as points, a mixture of zero width: GAI with it is BNI.
    "bni": RegressionLoss(balanced_mse.gai, prior="points", noise=True),
    "bmc": RegressionLoss(balanced_mse.bmc, noise=True, batch=True),
}
AUXILIARY: dict[str, AuxiliaryLoss] = {
    "classification": AuxiliaryLoss(auxiliary.classification),
    "membership": AuxiliaryLoss(
        auxiliary.membership,
        {"membership_sigma": Hyperparameter(2.0, "sigma")},  # target units
        edges=True,
        probabilities=classification.membership_probabilities,
    ),
    "hl_gauss": AuxiliaryLoss(auxiliary.hl_gauss, {"hl_ratio": Hyperparameter(0.75, "ratio")}, edges=True),
    "two_hot": AuxiliaryLoss(auxiliary.two_hot, edges=True),
    "sord": AuxiliaryLoss(auxiliary.sord, {"sord_alpha": Hyperparameter(1.0, "alpha")}, edges=True),
    "squared_emd": AuxiliaryLoss(auxiliary.squared_emd),
    "corn": AuxiliaryLoss(auxiliary.corn, probabilities=ordinal.corn_probabilities),
    "coral": AuxiliaryLoss(auxiliary.coral, probabilities=ordinal.coral_probabilities, one_direction=True),
    "ordinal_entropy": AuxiliaryLoss(auxiliary.ordinal_entropy, classes=False),
    "ranksim": AuxiliaryLoss(
        auxiliary.ranksim,
        {"ranksim_gamma": Hyperparameter(1.0, "gamma"), "ranksim_strength": Hyperparameter(2.0, "strength")},
        classes=False,
    ),
    "conr": AuxiliaryLoss(
        auxiliary.conr,
        {
            "conr_distance": Hyperparameter(1.0, "distance"),  # between near targets, in what loss_in says
            "conr_temperature": Hyperparameter(0.2, "temperature"),
            "conr_eta": Hyperparameter(0.01, "eta"),
        },
        classes=False,
    ),
    "rank_n_contrast": AuxiliaryLoss(
        auxiliary.rank_n_contrast, {"rnc_temperature": Hyperparameter(2.0, "temperature")}, classes=False
    ),
    "uvote": AuxiliaryLoss(auxiliary.uvote, classes=False, head=ValueHead(4, heads.uvote_value), weights="needed"),
    "evidential": AuxiliaryLoss(
        auxiliary.evidential,
        {"evidential_penalty": Hyperparameter(0.01, "penalty", zero=True)},
        classes=False,
        head=ValueHead(heads.EVIDENTIAL_OUTPUTS, heads.evidential_value),
        weights="optional",
    ),
}
_LOSSES: tuple[RegressionLoss | AuxiliaryLoss, ...] = (*REGRESSION.values(), *AUXILIARY.values())
HYPERPARAMETERS: dict[str, Hyperparameter] = {
    name: hyperparameter for loss in _LOSSES for name, hyperparameter in loss.hyperparameters.items()
}
