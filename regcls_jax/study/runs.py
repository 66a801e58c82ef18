"""From a study's config to the list of trainings it asks for."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from regcls_jax import optimizer
from regcls_jax.binning import ROUNDINGS
from regcls_jax.data.synthetic.spec import SAMPLINGS, SCENARIOS, TRAINING_SEEDS, DataSpec, check_integer
from regcls_jax.imbalance import METHODS
from regcls_jax.method import check_fields
from regcls_jax.metrics.errors import TRIVIAL_PREDICTORS
from regcls_jax.study.trace import TRACES
from regcls_jax.study.train import BALANCED_MSE

CHOICES = {
    "rounding": ROUNDINGS,
    "decay": optimizer.DECAYS,
    "optimizer": optimizer.NAMES,
    "regression": ("squared_error", "absolute_error", "huber", *BALANCED_MSE),
    "reweight": METHODS,
    "initial_weights": ("paired", "separate"),
    "trace": TRACES,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: what is trained on which data. Field names are the config's, the rows' and the tables'.

    `classes` 0 is plain regression; lam multiplies the regression loss either way (Eq. 3 and 4), scale the whole loss.
    `balanced`: equalised classes with keep probabilities (Eq. 12 and 13). `seed` decides initial weights, batches and
    class masks. `initial_weights` "paired" gives every arm the same trunk and value head, so that a comparison is not
    about the luck of the draw; "separate" draws those of models with classes apart, as the published code does
    (recipes 4.1-8).

    The baselines made for imbalance: `regression` "gai", "bni", "bmc" is Balanced MSE, its noise scale starting at
    `noise_sigma` (target units) and learned with Adam at `noise_learning_rate` (0: fixed), under a prior of
    `components` Gaussians (gai) or `buckets` points (bni); `reweight` weighs the regression loss by the inverse (square
    root of the) density of the target over `buckets` uniform buckets of its range, smoothed if `lds`.

    `trace` records the quantities of section 2.2 in every epoch, under a prior p~(y) of `components` Gaussians; sigma^2
    is the model's own MSE on its training split ("mse") or 1 / (2 lam) ("lambda", Eq. 3). It changes no training.
    """

    arm: str
    data: DataSpec
    seed: int
    classes: int = 0
    balanced: bool = False
    rounding: str = "ceil"
    lam: float = 1.0
    scale: float = 1.0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    decay: str = "coupled"
    optimizer: str = "adam"
    momentum: float = 0.9
    regression: str = "squared_error"
    noise_sigma: float = 1.0
    noise_learning_rate: float = 1e-2
    components: int = 8
    reweight: str = "none"
    lds: bool = False
    buckets: int = 100
    hidden: tuple[int, ...] = (6, 15)
    initial_weights: str = "paired"
    batch_size: int = 256
    epochs: int = 80
    trace: str = "none"

    def __post_init__(self) -> None:
        check_fields(
            self,
            integers={"batch_size": 1, "epochs": 1, "components": 1, "buckets": 1, "classes": 0},
            positive=("lam", "scale", "learning_rate", "noise_sigma"),
            not_negative=("weight_decay", "momentum", "noise_learning_rate"),
            choices=CHOICES,
        )
        where = f"arm {self.arm!r}"
        if self.classes == 1:
            raise ValueError(f"{where}: classes must be 0 (plain regression) or at least 2, got {self.classes}")
        if self.balanced and not self.classes:
            raise ValueError(f"{where}: balanced classes need classes >= 2")
        if self.lds and self.reweight == "none":
            raise ValueError(f"{where}: lds smooths the density of a re-weighting; set reweight, too")
        if not self.hidden:
            raise ValueError(f"{where}: hidden must list the widths of at least one layer")
        for width in self.hidden:
            check_integer(f"{where}: a width in hidden", width, 1)


# What an arm may set: every field of a run that is not the data or the repetition.
ARM_FIELDS = tuple(f.name for f in dataclasses.fields(Run) if f.name not in ("arm", "data", "seed"))
DATA_FIELDS = {
    "scenarios": SCENARIOS,
    "samplings": SAMPLINGS,
    "functions": 10,
    "repetitions": 5,
    "noise": (0.1,),
    "noise_kind": "gaussian",
    "total": 60_000,
    "peak_share": None,
}
SECTIONS = ("name", "data", "run", "scenario", "arms", "budget", "chunk")


def check_keys(section: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown config key {section}{unknown[0]!r}; known: {', '.join(known)}")


def _choices(field: str, value: Any) -> tuple[Any, ...]:
    """The values a field takes in turn: a tuple lists them, but `hidden` is itself a tuple (a list of them then)."""
    several = isinstance(value, tuple | list)
    if field == "hidden":
        if not several:
            raise ValueError(f"hidden must list layer widths, such as (6, 15), got {value!r}")
        return tuple(map(tuple, value)) if value and isinstance(value[0], tuple | list) else (tuple(value),)
    return tuple(value) if several else (value,)


def data_specs(data: Mapping[str, Any]) -> list[DataSpec]:
    """Every data set of a study, from the config section `data` (keys and defaults: DATA_FIELDS).

    Scenario "noisy" appears once per value of `noise`, the others once.
    """
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    for name in ("scenarios", "samplings", "noise"):
        if not isinstance(data[name], tuple | list):
            raise ValueError(f"data.{name} must be a tuple, got {data[name]!r}")
    for name in ("functions", "repetitions"):
        check_integer(f"data.{name}", data[name], 1)
    specs = []
    for scenario, sampling in itertools.product(data["scenarios"], data["samplings"]):
        for noise in data["noise"] if scenario == "noisy" else (0.0,):
            for function, repetition in itertools.product(range(data["functions"]), range(data["repetitions"])):
                specs.append(
                    DataSpec(
                        scenario,
                        sampling,
                        function,
                        repetition,
                        noise=noise,
                        noise_kind=data["noise_kind"],
                        total=data["total"],
                        peak_share=data["peak_share"],
                    )
                )
    return specs


def training_seed(repetition: int) -> int:
    """The training seed that goes with a repetition: the five published ones, then the repetition's own number."""
    return TRAINING_SEEDS[repetition] if repetition < len(TRAINING_SEEDS) else repetition


def draw_combinations(
    name: str, settings: Mapping[str, Sequence[Any]], budget: int, data: DataSpec
) -> Iterator[dict[str, Any]]:
    """`budget` different combinations of an arm's values, at random, in the order drawn.

    The draw depends on the data set, the arm's `name` and its values, not on the order of its fields; a smaller budget
    has the first ones of a larger. Raises ValueError for an arm with fewer combinations than the budget, because arms
    would not have equal budgets then.
    """
    for field, values in settings.items():
        if any(values.count(value) > 1 for value in values):
            raise ValueError(f"arm {name!r}: {field} lists a value twice, so the same training could be drawn twice")
    fields = sorted(settings)
    sizes = [len(settings[field]) for field in fields]
    if (combinations := math.prod(sizes)) < budget:
        raise ValueError(f"arm {name!r} has {combinations} combinations, fewer than the budget of {budget}")
    # Seeded with the text itself: Python's hash() differs from process to process.
    generator = np.random.default_rng(list(repr((data.content(), name)).encode()))
    drawn: set[int] = set()
    while len(drawn) < budget:
        number = int(generator.integers(combinations))
        if number not in drawn:
            drawn.add(number)
            # Unravelled one by one, so that a large product is never listed.
            places = map(int, np.unravel_index(number, sizes))
            yield {field: settings[field][place] for field, place in zip(fields, places, strict=True)}


def _arm_runs(
    name: str, arm: Mapping[str, Any], defaults: Mapping[str, Any], data: DataSpec, budget: int
) -> Iterator[Run]:
    settings = {field: _choices(field, value) for field, value in {**defaults, **arm}.items()}
    if budget:
        combinations = draw_combinations(name, settings, budget, data)
    else:
        combinations = (dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values()))
    for values in combinations:
        yield Run(arm=name, data=data, seed=training_seed(data.repetition), **values)


def expand(config: Mapping[str, Any]) -> list[Run]:
    """The runs of a study, in a fixed order: for every data set, every arm, every combination of the arm's values.

    config: `data` as in `data_specs`; `run` the defaults of all arms; `scenario[name]` what a scenario sets (the
    published lambda and learning rate); `arms[name]` what an arm sets, a tuple standing for each of its values. An arm
    goes before its scenario, that before `run`. `budget` above 0 trains only so many combinations per data set and arm,
    drawn at random (`draw_combinations`). Raises ValueError for an unknown key or a value that makes no sense.
    """
    check_keys("", config, SECTIONS)
    config = {"data": {}, "run": {}, "scenario": {}, "arms": {}, **config}
    for key in ("budget", "chunk"):
        check_integer(key, config.get(key, 0), 0)
    check_keys("run.", config["run"], ARM_FIELDS)
    check_keys("scenario.", config["scenario"], SCENARIOS)
    for scenario, settings in config["scenario"].items():
        check_keys(f"scenario.{scenario}.", settings, ARM_FIELDS)
    for name, arm in config["arms"].items():
        if name in TRIVIAL_PREDICTORS:
            raise ValueError(f"an arm cannot be called {name!r}: that is a trivial predictor")
        check_keys(f"arms.{name}.", arm, ARM_FIELDS)
    runs = []
    for data in data_specs(config["data"]):
        defaults = {**config["run"], **config["scenario"].get(data.scenario, {})}
        for name, arm in config["arms"].items():
            runs.extend(_arm_runs(name, arm, defaults, data, config.get("budget", 0)))
    if len(set(runs)) < len(runs):
        twice = next(run for number, run in enumerate(runs) if run in runs[:number])
        raise ValueError(f"arm {twice.arm!r} asks for the same training twice")
    if not runs:
        raise ValueError("the config asks for no training: a list under `data` or `arms` is empty")
    return runs
