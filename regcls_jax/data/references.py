"""Models of another kind that stand beside the networks: ridge regression and gradient boosting of scikit-learn."""

from typing import Any

import numpy as np

from regcls_jax.data.source import Problem

# Settings that they choose from on the validation set.
ALPHAS = np.geomspace(1e-2, 1e4, 7)
BOOSTING = tuple({"learning_rate": rate, "max_leaf_nodes": leaves} for rate in (0.03, 0.1, 0.3) for leaves in (8, 31))
# Up to so many rows one thread fits them as fast as several do, and waits for none.
ONE_THREAD = 20_000


def references(problem: Problem, seed: int) -> dict[str, np.ndarray]:
    """What "ridge" and "boosting" predict for all rows [n], fitted to the training rows.

    Of each the setting with the lowest squared error on the validation rows counts.
    """
    # scikit-learn is imported where it is used: it takes a second, which no other source should wait for.
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    candidates: dict[str, list[Any]] = {
        "ridge": [make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in ALPHAS],
        "boosting": [HistGradientBoostingRegressor(**settings, random_state=seed) for settings in BOOSTING],
    }
    train, val = problem.splits["train"], problem.splits["val"]
    # In float32 scikit-learn's ridge warns of columns that are alike, as those of one category are.
    inputs = problem.inputs.astype(np.float64)
    found = {}
    with threadpool_limits(1 if len(train) <= ONE_THREAD else None):
        for name, models in candidates.items():
            fitted = [model.fit(inputs[train], problem.targets[train]) for model in models]
            errors = [np.mean((model.predict(inputs[val]) - problem.targets[val]) ** 2) for model in fitted]
            found[name] = fitted[int(np.argmin(errors))].predict(inputs)
    return found
