"""Problems in memory for tests of the study engine."""

import dataclasses

import numpy as np

from regcls_jax.data.source import Problem


@dataclasses.dataclass(frozen=True)
class ToySpec:
    """A problem of given width and number of targets; folds of it share their rows."""

    fold: int = 0
    width: int = 3
    outputs: int = 0
    samples: int = 200

    scenario = ""
    key = 0

    @property
    def name(self):
        return f"toy {self.width}, fold {self.fold}"

    @property
    def seed(self):
        return self.fold

    @property
    def shared(self):
        return self.width, self.outputs, self.samples

    def content(self):
        return dataclasses.astuple(self)

    def columns(self):
        return {"dataset": "toy", "fold": self.fold}


def read_toy(spec):
    """A smooth function of the inputs, in far from standard units; every fold trains on other rows."""
    generator = np.random.default_rng(spec.width)
    inputs = 50 + 9 * generator.normal(size=(spec.samples, spec.width))
    scaled = (inputs - 50) / 9
    targets = 200 + 30 * np.sin(scaled[:, 0]) + 10 * scaled[:, -1]
    if spec.outputs:
        targets = np.stack([targets * (1 + k) for k in range(spec.outputs)], axis=1)
    rows = np.random.default_rng(spec.fold).permutation(spec.samples)
    cut = spec.samples * 3 // 5, spec.samples * 4 // 5
    train, val, test = np.split(rows, cut)
    return Problem(inputs, targets, {"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)})
