"""The training histogram of IMDB-WIKI-DIR: what classes, weights, masks and shot groups follow from (recipes 4.7)."""

import importlib.resources

import numpy as np


def train_counts() -> np.ndarray:
    """Training samples per age, int64 [121]: ages 0 to 119, then all of 120 years and more; 191,509 in all.

    Recovered from the square roots of these counts, which a published weights file holds.
    """
    source = importlib.resources.files("regcls_jax.data") / "published" / "imdb_wiki_train_counts.csv"
    rows = np.loadtxt(source.read_text(encoding="utf-8").splitlines(), np.int64, delimiter=",", skiprows=1)
    return rows[:, 1]
