"""The published training counts of NYUD2-DIR, by buckets of .1 m."""

import numpy as np
from paths import ROOT


def nyud2_counts():
    """int64 [100]; the first seven are 0."""
    path = ROOT / "regcls_jax" / "data" / "published" / "nyud2_train_counts.csv"
    return np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)[:, 1]
