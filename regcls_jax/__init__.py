"""Why classification helps regression: losses, bins and weights for your own loop, and the study behind them.

    import regcls_jax as rc

    found = rc.bins.fit(targets, 100, balanced=True)         # classes over the training targets (Eq. 12, 13)
    labels = rc.bins.assign(targets, found.edges)            # int32 [n]
    loss, terms = rc.objective(rc.Prediction(value, logits), targets, labels, lam=100.0)      # Eq. 4
    values = rc.bins.decode(probabilities, found.edges)      # from class probabilities back to target units

| name | what it is |
| --- | --- |
| `bins` | classes over a target: `fit`, `assign`, `decode`, `equalize`, `keep_probabilities` |
| `losses` | per-example losses: `squared_error`, `huber`, `focal_squared_error`, `cross_entropy`, `gai`, `bmc`, ... |
| `objective` | scale * (lam * regression + classification), with masks and weights; `Prediction` holds what it takes |
| `masked_mean`, `keep_mask` | a mean over a mask; a random draw of the samples whose class loss counts (Eq. 13) |
| `weights` | weights by the density of the targets: `label_weights`, `class_weights`, `LdsKernel` (no JAX needed) |
| `RegClsRegressor` | a small network with these losses as a scikit-learn estimator |
| `ImbalanceWeights` | weights by density for the `sample_weight` of any estimator (no JAX needed) |
| `theory` | the likelihoods and gaps of Section 2.2 (Eq. 5 to 11); `priors` the densities that they take |
| `metrics` | error sums, errors by many, medium and few shot, the trivial predictors |

Arrays may be lists, NumPy, pandas or JAX. Modules are imported on first use: importing the package, or only its bins
and weights, does not import JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regcls_jax import binning as bins
    from regcls_jax import imbalance as weights
    from regcls_jax import losses, metrics, priors, theory
    from regcls_jax.estimator import RegClsRegressor
    from regcls_jax.objectives import keep_mask, masked_mean, objective
    from regcls_jax.prediction import Prediction
    from regcls_jax.weighting import ImbalanceWeights

__version__ = "0.2.0"
__all__ = [
    "ImbalanceWeights",
    "Prediction",
    "RegClsRegressor",
    "bins",
    "keep_mask",
    "losses",
    "masked_mean",
    "metrics",
    "objective",
    "priors",
    "theory",
    "weights",
]

# Public name -> where it is: a module, or "module:name".
_PLACES = {
    "ImbalanceWeights": "weighting:ImbalanceWeights",
    "Prediction": "prediction:Prediction",
    "RegClsRegressor": "estimator:RegClsRegressor",
    "bins": "binning",
    "keep_mask": "objectives:keep_mask",
    "losses": "losses",
    "masked_mean": "objectives:masked_mean",
    "metrics": "metrics",
    "objective": "objectives:objective",
    "priors": "priors",
    "theory": "theory",
    "weights": "imbalance",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'regcls_jax' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, member = _PLACES[name].partition(":")
    found = importlib.import_module(f"regcls_jax.{module}")
    return getattr(found, member) if member else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
