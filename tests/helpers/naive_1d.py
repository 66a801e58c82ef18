"""A slow oracle of the published 1-D generator, straight from its description: a mask per bin."""

import numpy as np

POOL, BINS = 100_000, 1024
RATIOS = {"mild": 0.3, "moderate": 0.1, "severe": 0.03}


def per_bin(stream, x, y, edges, count):
    """`count` members of x, with replacement, from every bin [edge, next edge] that has any."""
    kept = []
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        members = x[(y >= left) & (y <= right)]
        if len(members):
            kept.append(members[stream.randint(0, len(members), count)])
    return np.concatenate(kept)


def uniform(stream, f, low, high, total, sigma):
    x = stream.uniform(low, high, (POOL, 1))
    y = f(x)
    if sigma > 0:
        y = y + stream.normal(0, sigma, (POOL, 1))
    return per_bin(stream, x[:, 0], y[:, 0], np.linspace(y.min(), y.max(), BINS + 1), total // BINS + 1)


def imbalanced(stream, f, ratio, low, high, total, minimum, peak=None):
    x = stream.uniform(low, high, (POOL, 1))[:, 0]
    y = f(x)
    half = ratio * (y.max() - y.min())
    if peak is None:
        peak = stream.uniform(y.min(), y.max())
    result = np.empty(0)
    if y.min() < peak < y.max():
        count = (total - BINS * minimum) // BINS * 2
        frequent = per_bin(stream, x, y, np.linspace(peak - half, peak + half, BINS + 1), count)
        order = np.arange(len(frequent))
        stream.shuffle(order)
        result = frequent[order][: total - BINS - minimum]
    rest = per_bin(stream, x, y, np.linspace(y.min(), y.max(), BINS + 1), minimum + 1)
    return np.concatenate([result, rest])


def split(stream, f, x, sigma):
    """[(x, y)] of train, validation, test."""
    order = np.arange(len(x))
    stream.shuffle(order)
    n = len(x)
    xs = [x[order[: n // 3]], x[order[n // 3 : 2 * n // 3]], x[order[2 * n // 3 :]]]
    return [(x, f(x) + (stream.normal(0, sigma, (len(x), 1))[:, 0] if sigma > 0 else 0)) for x in xs]


def clean_or_noisy(f, seed, sampling, sigma, total=60_000):
    stream = np.random.RandomState(seed)
    if sampling == "uniform":
        x = uniform(stream, f, -1, 1, total, sigma)
    else:
        x = imbalanced(stream, f, RATIOS[sampling], -1, 1, total, 5)
    return split(stream, f, x, sigma)


def ood(f, seed, sampling, target_range=None, total=60_000):
    """[(x, y)] of train, validation, test; target_range is needed by imbalanced sampling."""
    stream = np.random.RandomState(seed)
    width = 1 / 4.5
    starts = np.arange(-1, 1 + width / 4, width)
    lows = starts[:-1]
    highs = np.minimum(starts[1:] + np.abs(stream.normal(0, width / 4, 9)), 1)
    train, val, test = 0, 1, 2
    stream = np.random.RandomState(seed)
    parts = [[], [], []]
    if sampling == "uniform":
        for r in range(3):
            for part in (train, test, val):
                i = 3 * r + part
                parts[part].append(uniform(stream, f, lows[i], highs[i], total // 9, 0))
    else:
        hits = [0, 0, 0]
        while not all(hits):
            peak, hits = stream.uniform(*target_range), [0, 0, 0]
            for r in range(3):
                for part in (train, test, val):
                    y = f(stream.uniform(lows[3 * r + part], highs[3 * r + part], (POOL, 1)))
                    hits[part] += y.min() <= peak <= y.max()
        for r in range(3):
            for part in (train, val, test):
                i, share = 3 * r + part, total // (3 * hits[part])
                x = imbalanced(stream, f, RATIOS[sampling], lows[i], highs[i], share, 1, peak=peak)
                parts[part].append(x)
    xs = [np.concatenate(part) for part in parts]
    return [(x, f(x)) for x in xs]
