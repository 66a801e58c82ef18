"""Times the training step of the depth network: the loop's own jitted, donated step on one device, on noise."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from resnet_worker import Program, Training
from worker import Answer, serve, timed

from regcls_jax.data.depth.splits import DepthSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.devices import configure_cpu
from regcls_jax.loop.depth import DepthRun
from regcls_jax.loop.steps import make_engine

# Of the published training set; the learning rate follows their number.
IMAGES = 50_688


class NoPairs:
    """Nothing is read."""

    def read(self, rows: Sequence[int]) -> list[tuple[bytes, bytes | None]]:
        raise NotImplementedError


def noise(run: DepthRun) -> dict[str, np.ndarray]:
    """A batch of noise with depths in [0, 10) m for every pixel."""
    generator = np.random.default_rng(0)
    pictures = (run.batch_size, run.image_height, run.image_width, 3)
    maps = (run.batch_size, run.image_height // 2, run.image_width // 2)
    return {
        "input": generator.integers(0, 256, pictures, dtype=np.uint8),
        "target": generator.uniform(0, 10, maps).astype(np.float32),
        "valid": np.ones(maps, bool),
        "index": np.arange(run.batch_size, dtype=np.int32),
        "mask": np.ones(run.batch_size, bool),
    }


@functools.lru_cache(maxsize=1)
def training(settings: tuple[tuple[str, Any], ...]) -> Training:
    """The training with these settings; its classes follow from NYUD2's published counts."""
    run = DepthRun(arm="a", seed=0, counts="published", augment=False, accumulate=1, **dict(settings))
    train = DepthSplit(NoPairs(), np.arange(IMAGES), 1.0)
    return Training(Program(make_engine(run, Prepared("nyud2", "depth", "m", "", {"train": train})), noise(run)))


def answer(run: Mapping[str, Any]) -> Answer:
    """Seconds and core-seconds of one step; the first request of a run compiles it and makes one step before."""
    return timed(training(tuple(run.items())).advance)


if __name__ == "__main__":
    configure_cpu(1)
    serve(answer)
