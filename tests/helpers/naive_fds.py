"""FDS in loops and float64, written from recipes 2.3 and not from regcls_jax: what the fast one is checked against."""

import numpy as np

from regcls_jax.imbalance import lds_kernel

MOMENTS = ("running", "last", "smoothed")


def over_buckets(values, seen, config):
    """One bucket after the other; only buckets in `seen` count."""
    window, half = lds_kernel(config.kernel, config.size, config.sigma, "sum"), config.size // 2
    result = values.copy()
    for k in range(len(values)):
        where = [abs(k + d) for d in range(-half, half + 1)]
        where = [j if j < len(values) else 2 * (len(values) - 1) - j for j in where]
        weights = [w if seen[j] else 0 for w, j in zip(window, where, strict=True)]
        if seen[k]:
            result[k] = sum(w * values[j] for w, j in zip(weights, where, strict=True)) / sum(weights)
    return result


class NaiveFds:
    """recipes 2.3 in loops and float64: "published" of ages or of depth, or "corrected" as `fds.update` says."""

    def __init__(self, config, buckets, features):
        self.config, self.epoch, self.seen = config, config.start_update, np.zeros(buckets, int)
        for moment in MOMENTS:
            setattr(self, moment, [np.zeros((buckets, features)), np.ones((buckets, features))])

    def collect(self, features, buckets, epoch):
        for k in set(buckets.tolist()) - {-1}:
            rows = features[buckets == k].astype(float)
            whole = self.seen[k] == 0 if self.config.mode == "corrected" else epoch == self.config.start_update
            old = 0 if whole else self.config.momentum
            current = (rows.mean(0), rows.var(0, ddof=1) if len(rows) > 1 else 0 * rows[0])
            for buffer, value in zip(self.running, current, strict=True):
                buffer[k] = (1 - old) * value + old * buffer[k]
            self.seen[k] += len(rows)

    def update(self, features, buckets, epoch):
        if self.config.mode == "corrected":
            self.collect(features, buckets, epoch)
            self.last = [buffer.copy() for buffer in self.running]
            self.smoothed = [over_buckets(buffer, self.seen > 0, self.config) for buffer in self.running]
        else:
            if epoch == self.epoch + 1:
                self.epoch += 1
                self.last = self.running  # the same arrays, as published
                if self.config.mode == "published_depth":
                    self.last = [buffer.copy() for buffer in self.running]
                self.smoothed = [
                    over_buckets(buffer, np.ones(len(self.seen), bool), self.config) for buffer in self.running
                ]
            self.collect(features, buckets, epoch)

    def smooth(self, features, buckets, epoch):
        result = features.astype(float)
        for i, k in enumerate(buckets):
            if k < 0 or epoch < self.config.start_smooth or self.last[1][k].sum() < 1e-10:
                continue
            for j in range(features.shape[1]):
                if (v1 := self.last[1][k, j]) != 0:
                    ratio = np.clip(self.smoothed[1][k, j] / v1, *self.config.clip)
                    result[i, j] = (result[i, j] - self.last[0][k, j]) * ratio**0.5 + self.smoothed[0][k, j]
        return result
