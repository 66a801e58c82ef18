"""Checkpoints of a training with Orbax: the newest one, to continue from, and the best one, to test."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import PolicyCheckpointInfo, PreservationContext, PreservationPolicy

from regcls_jax.checks import first_line
from regcls_jax.store.files import digest, signed, verified

METRIC = "selected"
# The metric of a second selection, where a run has one.
ALSO = "also_selected"
# What a checkpoint takes beside its arrays, at most (bytes).
SPARE = 2**19
# Where a checkpoint that is no longer kept goes first: renaming takes one moment, removing its files takes many, and
# a process killed among them would leave part of a checkpoint where a whole one is expected.
REMOVED = "removed"
# What a position says besides: the metrics, the digest of the arrays, and that of their names and shapes.
SELECTED, DIGEST, NETWORK = "selected", "arrays", "network"


def _digest(state: Any) -> str:
    """Of the arrays of a state, which every host holds whole."""
    return digest(*(np.asarray(leaf.addressable_data(0)) for leaf in jax.tree.leaves(state)))


def _network(state: Any) -> str:
    """A digest of the names, types and shapes of the arrays of a state, whose leaves may be jax.ShapeDtypeStruct."""
    leaves, _ = jax.tree.flatten_with_path(state)
    named = [f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}" for path, leaf in leaves]
    return hashlib.blake2b("\n".join(named).encode(), digest_size=8).hexdigest()


def _damaged(path: Any, error: Exception) -> OSError:
    return OSError(
        f"{path} cannot be restored: {first_line(error)}; remove that folder to go on from the checkpoint before "
        "it, or the folder of the run to train it again"
    )


@dataclasses.dataclass(kw_only=True)
class _NewestAndBest(PreservationPolicy):
    """Keeps the newest checkpoint and the first one with the lowest of each metric; one in mid-epoch has none."""

    def should_preserve(
        self, checkpoints: Sequence[PolicyCheckpointInfo], *, context: PreservationContext
    ) -> Sequence[bool]:
        newest = max(checkpoint.step for checkpoint in checkpoints)
        metrics = {checkpoint.step: checkpoint.metrics or {} for checkpoint in checkpoints}
        return [
            checkpoint.step in (newest, *(_best(metrics, name) for name in (METRIC, ALSO)))
            for checkpoint in checkpoints
        ]


def _best(metrics: dict[int, dict[str, float]], name: str) -> int | None:
    having = [step for step, found in metrics.items() if found.get(name) is not None]
    return min(having, key=lambda step: (metrics[step][name], step), default=None)


class Checkpoints:
    """The checkpoints of one run in `folder`/checkpoints, by optimisation step.

    A checkpoint becomes visible only when it is whole, so a process killed while saving leaves the one before it.
    Saving happens in the background; `close` waits for it. Every process of a multi-host run takes part.
    """

    def __init__(self, folder: str | os.PathLike, *, read_only: bool = False) -> None:
        """Opens, or unless `read_only` makes, the folder.

        Raises OSError where it cannot, or where what a checkpoint says of itself is damaged.
        """
        path = (Path(folder) / "checkpoints").absolute()
        if read_only and not path.is_dir():
            raise FileNotFoundError(f"{path}: there is no checkpoint; train the run first")
        options = ocp.CheckpointManagerOptions(
            preservation_policy=None if read_only else _NewestAndBest(),
            best_fn=lambda metrics: metrics[METRIC],
            best_mode="min",
            todelete_subdir=None if read_only else REMOVED,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
        )
        try:
            self._manager = ocp.CheckpointManager(path, item_names=("state", "position"), options=options)
        except OSError:
            raise
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            raise _damaged(path, error) from error
        if not read_only:
            with self._writing():
                self._remove()
        # A wrong metric would have the next one to be saved remove the best.
        for step in self._manager.all_steps():
            self._position(step)

    def save(
        self, step: int, state: Any, position: dict[str, Any], selected: float | None, also: float | None = None
    ) -> None:
        """Saves `state` (arrays) and `position` (JSON) at `step`.

        `selected`: the validation metric after an epoch; `also`: that of a second selection. Raises OSError where this
        checkpoint, or the one before it, cannot be written.
        """
        metrics = {name: value for name, value in ((METRIC, selected), (ALSO, also)) if value is not None}
        about = {SELECTED: selected, **metrics, DIGEST: _digest(state), NETWORK: _network(state)}
        position = signed({**position, **about})
        self.wait()
        with self._writing():
            self._check_room(state)
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)),
                metrics=metrics or None,
            )

    def _check_room(self, state: Any) -> None:
        """Raises OSError where the disk has no room for `state`: on a disk that fills up, Orbax prints tracebacks."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + SPARE
        free = shutil.disk_usage(self._manager.directory).free
        if free < needed:
            raise OSError(f"the disk has {free / 2**20:,.0f} MiB free, and it takes {needed / 2**20:,.0f}")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Makes an OSError of whatever goes wrong in writing: here, or in the background since the last call."""
        try:
            yield
        except Exception as error:  # a full disk is a ValueError, an OSError or a RuntimeError, as it comes
            raise OSError(
                f"{self._manager.directory}: no checkpoint can be written: {first_line(error)}; once that is mended "
                "(is the disk full?), the same command goes on from the last one"
            ) from error

    @property
    def newest(self) -> int | None:
        """Step of the newest checkpoint; None without any."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Step of the checkpoint with the lowest validation metric, the first of equals; None without any.

        Raises OSError, naming the folder, where a checkpoint is damaged.
        """
        return self._best_by(METRIC)

    @property
    def also_best(self) -> int | None:
        """As `best`, by the metric of the second selection."""
        return self._best_by(ALSO)

    def _best_by(self, name: str) -> int | None:
        return _best({step: self._position(step) for step in self._manager.all_steps()}, name)

    def _position(self, step: int) -> dict[str, Any]:
        found = self._read(step, position=ocp.args.JsonRestore())["position"]
        try:
            position = verified(found)
            # What decides which checkpoint is kept, and which is tested, is written twice.
            metrics = self._manager.metrics(step) or {}
            if (str(position[SELECTED]), str(position.get(ALSO))) != (str(metrics.get(METRIC)), str(metrics.get(ALSO))):
                raise ValueError("its validation metric is not the one it was saved with")  # as text: NaN is NaN
        except (ValueError, KeyError) as error:
            raise _damaged(self._manager.directory / str(step), error) from error
        return position

    def _read(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # as above
            raise _damaged(self._manager.directory / str(step), error) from error

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """State and position at `step`; `like` (jax.ShapeDtypeStruct) gives shapes and shardings.

        Raises OSError, naming the folder, where the checkpoint is damaged or of another model.
        """
        position = self._position(step)
        if position.get(NETWORK, _network(like)) != _network(like):  # earlier versions did not note it
            raise OSError(
                f"{self._manager.directory / str(step)} is of another network than the run that it is read for: was "
                "its config.json changed, or the folder copied?"
            )
        state = self._read(step, state=ocp.args.StandardRestore(like))["state"]
        if _digest(state) != position[DIGEST]:
            raise _damaged(self._manager.directory / str(step), ValueError("its arrays are not those that were saved"))
        about = (SELECTED, ALSO, DIGEST, NETWORK)
        return state, {name: value for name, value in position.items() if name not in about}

    def wait(self) -> None:
        """Waits until everything is written, and removes what is not kept; OSError where it cannot be."""
        with self._writing():
            self._manager.wait_until_finished()
            self._remove()

    def _remove(self) -> None:
        """Removes the files of the checkpoints that are no longer kept."""
        path = Path(self._manager.directory) / REMOVED
        if jax.process_index() == 0 and path.exists():
            shutil.rmtree(path)

    def close(self) -> None:
        """Waits, and lets go of the folder; OSError where something cannot be written."""
        with self._writing():
            self._manager.close()
            self._remove()
