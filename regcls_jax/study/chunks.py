"""How many runs are trained side by side: as many as a core's cache holds, or the memory of an accelerator."""

import itertools
from typing import NamedTuple

from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.study.program import Shape

# Activations of a chunk that a core's cache holds; measured best with 1 MB of second-level cache.
CACHE_BYTES = 1 << 20
MAX_CPU_CHUNK = 8
# On an accelerator a chunk takes this share of the memory by the estimate of `Cost`: the rest is for the data of two
# parts, for padding and for what the compiler adds.
MEMORY_SHARE = 0.25
MAX_ACCELERATOR_CHUNK = 1024
# Arrays as large as the widest activation that a step keeps: logits, their softmax, targets, and the gradients of them.
WIDEST_ARRAYS = 6
# Copies of a run's weights: themselves, gradient, two moments, and those of the best epoch.
WEIGHT_COPIES = 5
# A whole epoch is gathered at once where it takes no more memory than this per run, else every step gathers its batch:
# with one input that is a third slower, with 64 inputs nothing.
EPOCH_BYTES = 1 << 24


class Cost(NamedTuple):
    """Bytes that a run takes in training: its widest activation, its weights, the batches of an epoch."""

    widest: int
    weights: int
    epoch: int

    @property
    def whole(self) -> int:
        """An estimate of all of it."""
        return WIDEST_ARRAYS * self.widest + WEIGHT_COPIES * self.weights + self.epoch


def cost_of(shape: Shape, samples: int, width: int) -> Cost:
    """What a run takes that trains on `samples` rows of `width` numbers."""
    pairs = shape.batch_size if AUXILIARY[shape.auxiliary].compares else 0
    widest = 4 * shape.batch_size * max(shape.classes, pairs, *shape.hidden)
    layers = itertools.pairwise((width, *shape.hidden, shape.classes + 1))
    return Cost(widest, 4 * sum(a * b for a, b in layers), min(EPOCH_BYTES, 4 * samples * width))


def chunk_size(cost: Cost, memory: int | None) -> int:
    """Runs per chunk, for an accelerator with so many bytes of `memory` or, with None, for a CPU.

    As many as keep the widest activation in a core's cache; on an accelerator as many as fill a share of its memory, a
    power of two: devices of one kind that differ by some megabytes are to train the same chunks.
    """
    if memory is None:
        # XLA:CPU runs a batch of one 40 % slower than a batch of two.
        return max(2, min(MAX_CPU_CHUNK, CACHE_BYTES // cost.widest))
    fitting = max(1, min(MAX_ACCELERATOR_CHUNK, int(MEMORY_SHARE * memory) // cost.whole))
    return 1 << (fitting.bit_length() - 1)
