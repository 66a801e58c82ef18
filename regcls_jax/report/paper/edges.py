"""Which picks lie at the edge of their grid: what is best may then lie outside it."""

import numpy as np
import pandas as pd


def edge(values: pd.Series, tried: pd.Series) -> pd.Series:
    """Where every value lies among those tried: "−" the smallest, "+" the largest, "" in between.

    Nothing is at the edge of a grid of one value; nor is 0, because no grid of learning rates or weights goes below.
    """
    low, high = tried.min(), tried.max()
    if low == high:
        return pd.Series("", values.index)
    return pd.Series(np.select([(values == low) & (low > 0), values == high], ["−", "+"], ""), values.index)
