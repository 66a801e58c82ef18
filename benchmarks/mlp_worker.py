"""Trains scikit-learn's MLPRegressor on a table of noise; asked by own_table.py."""

import warnings

import numpy as np
from worker import Answer, serve, timed


def table(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Inputs float32 [n, D], targets float32 [n], and row numbers of train (.64), val (.16) and test (.2)."""
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((rows, columns), np.float32)
    targets = inputs[:, 0] + inputs[:, 1] ** 2 + 0.1 * generator.standard_normal(rows, np.float32)
    train, val, test = np.split(np.arange(rows, dtype=np.int32), [int(0.64 * rows), int(0.8 * rows)])
    return inputs, targets, {"train": train, "val": val, "test": test}


def measure(fits: int, rows: int, columns: int, epochs: int, batch_size: int, hidden: list[int]) -> Answer:
    """Seconds and core seconds of so many trainings at different learning rates; every epoch is trained."""
    from sklearn.neural_network import MLPRegressor

    inputs, targets, splits = table(rows, columns)
    x, y = inputs[splits["train"]], targets[splits["train"]]
    settings = {"hidden_layer_sizes": tuple(hidden), "batch_size": batch_size, "max_iter": epochs}
    settings |= {"tol": 0.0, "n_iter_no_change": epochs + 1}  # no early end

    def train() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            for number in range(fits):
                MLPRegressor(**settings, learning_rate_init=1e-3 * (1 + 0.01 * number), random_state=0).fit(x, y)

    return timed(train)


if __name__ == "__main__":
    serve(measure)
