"""How often the 95 % intervals of the reports contain the truth, where functions and repetitions are drawn anew.

Every draw is a table of functions x repetitions with effects of its rows, its columns and the rest; differences have
the mean 0, rates the share of positive cells. Prints the coverage and the median width beside the normal interval that
knows the variances.

  python benchmarks/intervals.py --draws=3000
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from absl import app, flags

from regcls_jax.report.statistics import Interval, rate_interval, two_way_interval
from regcls_jax.report.tables import markdown

DRAWS = flags.DEFINE_integer("draws", 3000, "Simulated tables per case.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the simulation.")

SHAPES = ((10, 5), (10, 3), (5, 3), (3, 3), (3, 500))  # the last: seeds x test images
# Standard deviations of functions, repetitions and the rest.
COMPONENTS = {
    "functions dominate": (1.0, 0.1, 0.3),
    "repetitions dominate": (0.1, 1.0, 0.3),
    "even": (1.0, 1.0, 1.0),
    "mostly noise": (0.3, 0.3, 1.0),
    "only noise": (0.0, 0.0, 1.0),
}


def tables(shape: tuple[int, int], deviations: tuple[float, float, float], draws: int, seed: int) -> np.ndarray:
    """Simulated differences [draws, functions, repetitions] with mean 0."""
    rng = np.random.default_rng(seed)
    parts = ((shape[0], 1), (1, shape[1]), shape)
    return sum(s * rng.normal(size=(draws, *part)) for s, part in zip(deviations, parts, strict=True))


def ends(interval: Callable[..., Interval], drawn: np.ndarray) -> np.ndarray:
    """Both ends of the interval of every table [draws, 2]."""
    functions, repetitions = (labels.ravel() for labels in np.indices(drawn.shape[1:]))
    return np.array([interval(table.ravel(), functions, repetitions) for table in drawn])


def rates(wins: np.ndarray, functions: np.ndarray, repetitions: np.ndarray) -> Interval:
    """`rate_interval` with the arguments of `two_way_interval`."""
    return rate_interval(wins, [functions, repetitions])


def coverage(shape: tuple[int, int], deviations: tuple[float, float, float], draws: int, seed: int = 0) -> dict:
    """Coverage of means and rates, and the width of the former over that with known variances."""
    drawn = tables(shape, deviations, draws, seed)
    means, shares = ends(two_way_interval, drawn), ends(rates, drawn < 0)
    variances = np.square(deviations) / (shape[0], shape[1], shape[0] * shape[1])
    return {
        "means": np.mean((means[:, 0] <= 0) & (0 <= means[:, 1])),
        "rates": np.mean((shares[:, 0] <= 0.5) & (0.5 <= shares[:, 1])),
        "width": np.median(np.diff(means)) / (2 * 1.959964 * variances.sum() ** 0.5),
    }


def main(_: list[str]) -> None:
    """Prints the table."""
    lines = [
        {"functions x repetitions": f"{shape[0]} x {shape[1]}", "components": name}
        | {key: f"{value:.3f}" for key, value in coverage(shape, deviations, DRAWS.value, SEED.value).items()}
        for shape in SHAPES
        for name, deviations in COMPONENTS.items()
    ]
    print(markdown(pd.DataFrame(lines)))


if __name__ == "__main__":
    app.run(main)
