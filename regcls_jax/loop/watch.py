"""What a training notes of its steps: the losses of past ones, summed and looked at, and how long it all took."""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np

from regcls_jax.loop.mesh import IN_FLIGHT

LINES_EVERY = 100
Write = Callable[[int, Mapping[str, float]], None]


@dataclasses.dataclass
class Notes:
    """What a checkpoint holds beside the state: the sums of this epoch's losses over its steps so far, and the time."""

    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


class Watch:
    """Looks at the losses of past steps: notes them, writes some, and stops at the first one that is not finite."""

    def __init__(self, notes: Notes, names: np.ndarray, write: Write) -> None:
        """`names` [n] of the training examples, for messages."""
        self._pending: collections.deque[tuple[int, np.ndarray, dict[str, jax.Array]]] = collections.deque()
        self._notes, self._names, self._write = notes, names, write

    def add(self, step: int, samples: np.ndarray, terms: dict[str, jax.Array]) -> None:
        """Takes the losses of a step, computed or not, and looks at those of `IN_FLIGHT` steps ago."""
        self._pending.append((step, samples, terms))
        if len(self._pending) > IN_FLIGHT:
            self._look()

    def finish(self) -> None:
        """Looks at all that is left."""
        while self._pending:
            self._look()

    def _look(self) -> None:
        step, samples, terms = self._pending.popleft()
        values = {name: float(value) for name, value in jax.device_get(terms).items()}
        for name, value in values.items():
            if not math.isfinite(value):
                shown = ", ".join(map(str, self._names[samples[:5]]))
                raise ValueError(
                    f"{name} is {value} at step {step}; its batch of {len(samples)} samples begins with {shown}. "
                    "The checkpoint before it stands; lower learning_rate or scale, or look at these samples"
                )
            self._notes.sums[name] = self._notes.sums.get(name, 0.0) + value
        self._notes.steps += 1
        if step % LINES_EVERY == 0:
            self._write(step, values)
