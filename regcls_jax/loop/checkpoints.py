"""Checkpoints of a training with Orbax: the newest one, to continue from, and the best one, to test."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import PolicyCheckpointInfo, PreservationContext, PreservationPolicy

METRIC = "selected"


@dataclasses.dataclass(kw_only=True)
class _NewestAndBest(PreservationPolicy):
    """Keeps the newest checkpoint and the first one with the lowest validation metric; one in mid-epoch has none."""

    def should_preserve(
        self, checkpoints: Sequence[PolicyCheckpointInfo], *, context: PreservationContext
    ) -> Sequence[bool]:
        newest = max(checkpoint.step for checkpoint in checkpoints)
        best = _best({checkpoint.step: checkpoint.metrics for checkpoint in checkpoints if checkpoint.metrics})
        return [checkpoint.step in (newest, best) for checkpoint in checkpoints]


def _best(metrics: dict[int, dict[str, float]]) -> int | None:
    return min(metrics, key=lambda step: (metrics[step][METRIC], step)) if metrics else None


class Checkpoints:
    """The checkpoints of one run in `folder`/checkpoints, by optimisation step.

    A checkpoint becomes visible only when it is whole, so a process killed while saving leaves the one before it.
    Saving happens in the background; `close` waits for it. Every process of a multi-host run takes part.
    """

    def __init__(self, folder: str | os.PathLike, *, read_only: bool = False) -> None:
        """Opens, or unless `read_only` makes, the folder. Raises OSError where it cannot."""
        path = (Path(folder) / "checkpoints").absolute()
        if read_only and not path.is_dir():
            raise FileNotFoundError(f"{path}: there is no checkpoint; train the run first")
        self._manager = ocp.CheckpointManager(
            path,
            item_names=("state", "position"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=None if read_only else _NewestAndBest(),
                best_fn=lambda metrics: metrics[METRIC],
                best_mode="min",
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
            ),
        )

    def save(self, step: int, state: Any, position: dict[str, Any], selected: float | None) -> None:
        """Saves `state` (arrays) and `position` (JSON) at `step`; `selected`: the validation metric after an epoch."""
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)),
            metrics=None if selected is None else {METRIC: selected},
        )

    @property
    def newest(self) -> int | None:
        """Step of the newest checkpoint; None without any."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Step of the checkpoint with the lowest validation metric, the first of equals; None without any."""
        steps = self._manager.all_steps()
        return _best({step: found for step in steps if (found := self._manager.metrics(step))})

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """State and position at `step`; `like` (jax.ShapeDtypeStruct) gives shapes and shardings.

        Raises OSError, naming the folder, where the checkpoint cannot be read or is of another model.
        """
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(like), position=ocp.args.JsonRestore()),
            )
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise OSError(f"{self._manager.directory}/{step} cannot be restored: {error}") from error
        return restored["state"], restored["position"]

    def wait(self) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        self.wait()
        self._manager.close()
