"""Regression with a classification loss as a scikit-learn estimator, on the study engine."""

import dataclasses
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from regcls_jax import binning
from regcls_jax.data.source import Problem
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.study.fit import fit, predict
from regcls_jax.study.runs import Run

# Rows predicted at a time, always as many: another number would be another program, and round otherwise.
BLOCK = 256
# Networks trained side by side at most.
SIDE_BY_SIDE = 8


@dataclasses.dataclass(frozen=True)
class _Given:
    """The data of one `fit`, which are in memory."""

    seed: int
    name = "the training data"
    scenario = ""
    key = 0
    shared = "given"

    def content(self) -> tuple[Any, ...]:
        return (self.seed,)

    def columns(self) -> dict[str, Any]:
        return {}


class Distribution(NamedTuple):
    """Class probabilities [n, C] over `edges` [C + 1] in target units, even within a class."""

    probabilities: np.ndarray
    edges: np.ndarray

    def mean(self) -> np.ndarray:
        """The mean [n]."""
        return binning.decode(self.probabilities, self.edges)

    def quantile(self, share: float) -> np.ndarray:
        """The value [n] below which a share of the probability lies. Raises ValueError for one outside [0, 1]."""
        if not 0 <= share <= 1:
            raise ValueError(f"a quantile is a share between 0 and 1, got {share}")
        below = np.cumsum(self.probabilities, 1)
        wanted = share * below[:, -1:]
        place = np.minimum((below <= wanted).sum(1), below.shape[1] - 1)
        rows = np.arange(len(below))
        inside = self.probabilities[rows, place]
        reached = below[rows, place] - inside
        part = np.divide(wanted[:, 0] - reached, inside, out=np.zeros(len(below)), where=inside > 0)
        return self.edges[place] + np.clip(part, 0, 1) * np.diff(self.edges)[place]


class RegClsRegressor(RegressorMixin, BaseEstimator):
    """A small network with a value head and a class head: loss = lam * squared error + cross-entropy (Eq. 4).

    Inputs and targets are standardised by the training data. The fields have the names and meanings of the study
    engine's (`study.runs.Run`, `method.Method`).

    Args:
      classes: uniform classes over the range of the targets, at most one for two training rows; 0: plain regression.
      lam: weight of the regression loss, in standard deviations of the targets.
      balanced: equalised classes and keep masks (Eq. 12 and 13).
      auxiliary: what is added to the regression loss: the cross-entropy over the classes ("classification"), soft or
        ordinal classes ("hl_gauss", "two_hot", "corn", ...), or, with classes=0, what shapes the features ("ranksim",
        "conr", ...) or has a head of its own ("evidential"; "uvote", which needs `reweight`); see docs/remedies.md.
      decoded: what predicts: the value head ("value"), the class probabilities by "expectation", "median" or "argmax",
        or the "head" that the auxiliary loss has.
      regression: the regression loss, such as "squared_error", "huber", "absolute_error".
      reweight: weights of the regression loss by the density of the targets: "none", "inverse" or "sqrt_inv".
      lds: whether that density is smoothed.
      hidden: widths of the hidden layers.
      activation: between them.
      learning_rate: of AdamW at the start; it falls to 0 (cosine).
      weight_decay: decoupled.
      batch_size: at most the number of training rows.
      epochs: passes over the training rows.
      early_stopping: whether the epoch with the lowest squared error (without weights) on a held-out part counts, not
        the last one.
      validation_fraction: that part of the rows.
      n_seeds: networks trained side by side, whose predictions are averaged.
      random_state: int, RandomState or None; the same int gives the same numbers.

    Attributes, once fitted: models_ (one per seed), edges_ of the classes (None without), n_features_in_.
    """

    def __init__(
        self,
        classes: int = 20,
        *,
        lam: float = 1.0,
        balanced: bool = False,
        auxiliary: str = "classification",
        decoded: str = "value",
        regression: str = "squared_error",
        reweight: str = "none",
        lds: bool = False,
        hidden: tuple[int, ...] = (64, 32),
        activation: str = "relu",
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
        batch_size: int = 64,
        epochs: int = 100,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_seeds: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.classes = classes
        self.lam = lam
        self.balanced = balanced
        self.auxiliary = auxiliary
        self.decoded = decoded
        self.regression = regression
        self.reweight = reweight
        self.lds = lds
        self.hidden = hidden
        self.activation = activation
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_seeds = n_seeds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Trains on inputs [n, D] and targets [n].

        `sample_weight` [n] are factors of both losses, whose mean is made 1; a row of weight 0 is as good as absent.

        Raises:
          ValueError: invalid data or a parameter out of range; the message names it.
        """
        if not isinstance(self.n_seeds, int) or self.n_seeds < 1:
            raise ValueError(f"n_seeds must be an integer of at least 1, got {self.n_seeds!r}")
        if not isinstance(self.classes, int) or self.classes < 0:
            raise ValueError(f"classes must be 0 or an integer of at least 2, got {self.classes!r}")
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        y = np.asarray(y, np.float64)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            kept = weights > 0
            if kept.sum() < 2:
                raise ValueError(f"sample_weight: {kept.sum()} rows have a weight above 0; 2 are needed")
            X, y, weights = X[kept], y[kept], weights[kept] / weights[kept].mean()
        generator = check_random_state(self.random_state)
        seeds = [int(seed) for seed in generator.randint(2**31 - 1, size=self.n_seeds)]
        self.constant_ = None if np.ptp(y) > 0 else float(y[0])
        self.models_, self.edges_ = [], None
        if self.constant_ is not None:
            return self
        problem = self._problem(X, y, weights, seeds[0])
        rows = len(problem.splits["train"])
        room = rows // 2  # so few rows that there is none for two classes leave plain regression
        settings = {
            **{name: getattr(self, name) for name in ("lam", "regression", "reweight", "lds", "activation", "epochs")},
            **{name: getattr(self, name) for name in ("classes", "balanced", "auxiliary", "decoded")},
            **{"learning_rate": self.learning_rate, "weight_decay": self.weight_decay, "decay": "decoupled"},
            **{"inputs": "standardised", "output": "standardised", "loss_in": "std", "schedule": "cosine"},
            **{"hidden": tuple(self.hidden), "batch_size": min(self.batch_size, rows)},
            **{"best_on": "val" if self.early_stopping else ""},
        }
        asked = Run(arm="RegClsRegressor", data=_Given(seeds[0]), seed=seeds[0], **settings)
        if asked.classes > room:
            plain = {"classes": 0, "balanced": False, "auxiliary": "classification", "decoded": "value"}
            asked = dataclasses.replace(asked, **({"classes": room} if room >= 2 else plain))
        runs = [dataclasses.replace(asked, data=_Given(seed), seed=seed) for seed in seeds]
        self.models_ = fit(runs, lambda spec: problem, chunk=min(self.n_seeds, SIDE_BY_SIDE))
        bins = self.models_[0].bins
        self.edges_ = None if bins is None else np.asarray(bins.edges, np.float64)
        return self

    def _problem(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, seed: int) -> Problem:
        rows = np.arange(len(y), dtype=np.int32)
        splits = {"train": rows}
        if self.early_stopping:
            train, val = train_test_split(rows, test_size=self.validation_fraction, random_state=seed)
            splits = {"train": np.sort(train), "val": np.sort(val)}
            if not np.ptp(y[splits["train"]]) > 0:
                raise ValueError("early_stopping: all targets that are left to train on are equal")
        return Problem(np.asarray(x, np.float32), y.astype(np.float32), splits, weights=weights)

    def _predictions(self, X: Any) -> list[Any]:
        """What every model predicts for inputs [n, D]: value [n] and class probabilities [n, C] or None, in float64."""
        x = np.asarray(X, np.float32)
        padded = np.pad(x, ((0, -len(x) % BLOCK), (0, 0)))
        run = self.models_[0].run  # as trained, whatever the parameters are now
        loss = AUXILIARY[run.auxiliary]
        found = []
        for model in self.models_:
            parts = [predict(model, padded[start : start + BLOCK]) for start in range(0, len(padded), BLOCK)]
            values = [part.value for part in parts]
            if loss.head and run.decoded == "head":
                values = [model.mean + model.std * loss.head.value(part.logits)[0] for part in parts]
            value = np.concatenate(values).astype(np.float64)[: len(x)]
            probabilities = None
            if self.edges_ is not None:
                each = [np.asarray(loss.probabilities(part.logits), np.float64) for part in parts]
                probabilities = np.concatenate(each)[: len(x)]
                probabilities /= probabilities.sum(1, keepdims=True)  # in float64, too, they sum to 1
            found.append((value, probabilities))
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Targets float64 [n] of inputs [n, D], the mean over the seeds."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        if self.constant_ is not None:
            return np.full(len(X), self.constant_)
        rule = self.models_[0].run.decoded
        if rule != "value" and self.edges_ is not None:
            return np.asarray(binning.decode(self._probabilities(X), self.edges_, rule))
        return np.mean([value for value, _ in self._predictions(X)], 0)

    def _probabilities(self, X: Any) -> np.ndarray:
        return np.mean([probabilities for _, probabilities in self._predictions(X)], 0)

    def predict_distribution(self, X: Any) -> Distribution:
        """The class probabilities of inputs [n, D], the mean over the seeds, over `edges_`.

        Raises ValueError for a model without classes.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        if self.edges_ is None:
            raise ValueError("only a model with at least 2 classes, of targets that differ, predicts a distribution")
        return Distribution(self._probabilities(X), self.edges_)
