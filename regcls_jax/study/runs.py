"""Expands a study's config into its list of trainings."""

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any

from regcls_jax.checks import check_integer, choice, not_negative, positive, whole
from regcls_jax.config import check_arms, check_keys, check_name, check_runs, combinations, draw_combinations, values
from regcls_jax.data.source import Spec
from regcls_jax.data.sources import source_of
from regcls_jax.method import Method
from regcls_jax.models.mlp import ACTIVATIONS, INITIALIZERS
from regcls_jax.study.trace import TRACES

# The fields of a method that `targets.fit` depends on.
TARGET_FIELDS = (
    *("classes", "balanced", "rounding", "low", "high", "low_quantile", "high_quantile"),
    *(
        "reweight",
        "dense_alpha",
        "buckets",
        "bucket_low",
        "bucket_high",
        "bucket_start",
        "bucket_point",
        "clip_low",
        "clip_high",
    ),
    *("lds", "lds_kernel", "lds_size", "lds_sigma", "lds_boundary", "lds_truncate"),
    *("components", "mixture_per", "output"),
)
_target_values = operator.attrgetter(*TARGET_FIELDS)


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """What a run trains on: a problem with the classes, weights and prior of its method. Runs may share one.

    `values` are those of TARGET_FIELDS; `regression` is the loss if it needs a prior, else the default.
    """

    data: Spec
    values: tuple[object, ...]
    regression: str

    @functools.cached_property
    def method(self) -> Method:
        """A method with these fields, for `targets.fit`."""
        fields: dict[str, Any] = dict(zip(TARGET_FIELDS, self.values, strict=True))
        return Method(**fields, regression=self.regression)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Method):
    """One training of a small network: a method, the problem it is trained on, and the network.

    Configs, rows and arrays use the same field names. `seed` decides initial weights, batches and class masks.
    """

    arm: str
    data: Spec
    seed: int

    # Network
    hidden: tuple[int, ...] = (6, 15)  # widths of the hidden layers
    activation: str = choice("relu", ACTIVATIONS)
    initializer: str = choice("xavier_uniform", INITIALIZERS)  # of the kernels; biases start at 0
    # "paired": all arms start from the same trunk and value head, so that comparisons do not depend on the draw;
    # "separate": models with classes start from other weights, as in the published code (recipes 4.1-8).
    initial_weights: str = choice("paired", ("paired", "separate"))
    inputs: str = choice("given", ("given", "standardised"))  # "standardised": z-scores by the training set
    # "shared": one compiled program for uniform and equalised classes and all that may predict, and one for weighted
    # and unweighted losses, raw and standardised outputs. Saves seconds of compilation each; steps do a little more.
    program: str = choice("own", ("own", "shared"))

    # What noise_sigma and noise_learning_rate are in: target units, or standard deviations of the training targets.
    noise_in: str = choice("target", ("target", "std"))

    # C-Mixup: a sample is mixed with one whose target is near, by a Gaussian of this width (standard deviations of the
    # training targets); 0: none. The share of each is drawn from Beta(mixup_alpha, mixup_alpha), once per batch.
    mixup: float = not_negative(0.0)
    mixup_alpha: float = positive(2.0)

    # Published 1-D recipe
    weight_decay: float = dataclasses.field(default=1e-3, metadata={"positive": False})

    epochs: int = whole(80, 0)  # 0: the untrained network

    # Evaluation
    best_on: str = ""  # split whose lowest MSE selects the epoch; "": the last epoch
    # Quantities of section 2.2 in every epoch, under a p~(y) of `components` Gaussians; sigma^2 is the model's own MSE
    # on its training split ("mse") or 1 / (2 lam) ("lambda", Eq. 3). Does not change the training.
    trace: str = choice("none", TRACES)

    @property
    def where(self) -> str:
        """Starts every message about this training."""
        return f"arm {self.arm!r}"

    @functools.cached_property
    def trained_on(self) -> TrainingSet:
        """What this run trains on; other runs may share it."""
        regression = self.regression if self.loss.prior != "none" else "squared_error"
        return TrainingSet(self.data, _target_values(self), regression)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epochs and (self.best_on or self.trace != "none"):
            raise ValueError(f"{self.where}: best_on and trace look at epochs, and there are none")
        if self.trace != "none" and (self.auxiliary != "classification" or self.output != "target"):
            raise ValueError(f"{self.where}: a trace is of the cross-entropy, and of values in target units")
        if self.mixup and (self.auxiliary_loss or self.reweight != "none"):
            raise ValueError(f"{self.where}: mixup makes new targets, which have no class, weight or auxiliary loss")
        if self.mixup and self.output != "standardised":
            raise ValueError(f"{self.where}: mixup is in standard deviations of the targets; set output 'standardised'")
        if self.noise_in == "std" and self.output != "standardised":
            raise ValueError(f"{self.where}: noise_in 'std' needs output 'standardised'")
        if not self.hidden:
            raise ValueError(f"{self.where}: hidden must list the widths of at least one layer")
        for width in self.hidden:
            check_integer(f"{self.where}: a width in hidden", width, 1)


# What an arm may set, every field of a run except its name, data and seed: field -> declared type.
ARM_FIELDS = {field.name: field.type for field in dataclasses.fields(Run) if field.name not in ("arm", "data", "seed")}
# Fields that are tuples themselves.
TUPLES = ("hidden", "boundaries")
SECTIONS = ("name", "data", "run", "scenario", "arms", "budget", "chunk", "predictions")


def expand(config: Mapping[str, Any]) -> list[Run]:
    """The runs of a study, in a fixed order: for every problem, every arm, every combination of the arm's values.

    Args:
      config: `data` names a `source` (`data.sources`) and holds its settings; `run` the defaults of all arms;
        `scenario[name]` the settings of a scenario (the published lambda and learning rate); `arms[name]` those of an
        arm, where a tuple lists several values. An arm overrides its scenario, and that overrides `run`. A `budget`
        above 0 trains only that many combinations per problem and arm, drawn at random (`config.draw_combinations`).
        Where `predictions` is True, the predictions on the test split are kept.

    Raises:
      ValueError: an unknown key or an invalid value.
    """
    check_keys("", config, SECTIONS)
    config = {"name": "study", "data": {}, "run": {}, "scenario": {}, "arms": {}, **config}
    check_name("a study", config["name"])
    for key in ("budget", "chunk"):
        check_integer(key, config.get(key, 0), 0)
    if not isinstance(config.get("predictions", False), bool):
        raise ValueError(f"predictions must be True or False, got {config['predictions']!r}")
    source, data = source_of(config["data"])
    check_keys("run.", config["run"], ARM_FIELDS)
    check_keys("scenario.", config["scenario"], source.scenarios)
    for scenario, settings in config["scenario"].items():
        check_keys(f"scenario.{scenario}.", settings, ARM_FIELDS)
    check_arms(config["arms"], ARM_FIELDS)
    runs = []
    for spec in source.specs(data):
        defaults = {**config["run"], **config["scenario"].get(spec.scenario, {})}
        for name, arm in config["arms"].items():
            settings = {field: values(field, value, TUPLES) for field, value in {**defaults, **arm}.items()}
            if budget := config.get("budget", 0):
                chosen = draw_combinations(name, settings, budget, repr((spec.content(), name)))
            else:
                chosen = combinations(settings)
            runs += [Run(arm=name, data=spec, seed=spec.seed, **setting) for setting in chosen]
    check_runs(runs)
    return runs
