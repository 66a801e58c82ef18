"""The training loop: one network over streamed images on all devices, resumable at any moment to the same numbers."""

import collections
import contextlib
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.experimental import multihost_utils

from regcls_jax import feature_smoothing
from regcls_jax.data.images.pipeline import train_batches
from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.devices import cores
from regcls_jax.loop.age_tables import age_tables
from regcls_jax.loop.checkpoints import Checkpoints
from regcls_jax.loop.mesh import IN_FLIGHT, check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.results import evaluator, write_results, year_counts
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.start import starting_state, state_template
from regcls_jax.loop.steps import Engine, fds_config, make_engine, statistics_step, train_step
from regcls_jax.loop.writer import MetricsWriter
from regcls_jax.metrics.shots import ClassErrorSums, shot_metrics
from regcls_jax.store.files import write_atomic
from regcls_jax.store.meta import VERSIONS

LINES_EVERY = 100
_CALLS = itertools.count(1)
Write = Callable[[int, Mapping[str, float]], None]


class Stopped(Exception):
    """The training was asked to stop; everything is saved."""


@dataclasses.dataclass
class _Progress:
    """What is not in the state: the sums of this epoch's losses over its steps so far, and the time taken."""

    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


class _Watch:
    """Looks at the losses of past steps: sums them, writes some, and stops at the first one that is not finite."""

    def __init__(self, progress: _Progress, names: np.ndarray, write: Write) -> None:
        self._pending: collections.deque[tuple[int, np.ndarray, dict[str, jax.Array]]] = collections.deque()
        self._progress, self._names, self._write = progress, names, write

    def add(self, step: int, samples: np.ndarray, terms: dict[str, jax.Array]) -> None:
        self._pending.append((step, samples, terms))
        if len(self._pending) > IN_FLIGHT:
            self._look()

    def finish(self) -> None:
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
            self._progress.sums[name] = self._progress.sums.get(name, 0.0) + value
        self._progress.steps += 1
        if step % LINES_EVERY == 0:
            self._write(step, values)


def train_image_run(
    run: ImageRun,
    splits: Mapping[str, ImageSplit],
    folder: Path,
    *,
    command: str,
    save_minutes: float = 10.0,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains `run` in `folder`, `<workdir>/<arm>/seed<k>`, from where it was stopped, and tests its best epoch.

    Leaves predictions.npz and rows.csv (see `image_results`), metrics.jsonl and tensorboard/, checkpoints/ (the newest
    and the best), meta.json. Every host of a multi-host run calls this; only the first one writes files of its own.

    Args:
      run: what to train.
      splits: train, val and test.
      folder: exists; belongs to this run alone.
      command: as typed, for meta.json.
      save_minutes: time between checkpoints inside an epoch (one host); after every epoch there is one anyway.
      stop: asked after every step; True saves and raises `Stopped`.

    Raises:
      Stopped: on request.
      ValueError: a loss is not finite (names step and samples), or the batch does not fit the devices.
      OSError: the arm it starts from is not trained, or a checkpoint cannot be read.
    """
    check_batch_size(run.batch_size, run.accumulate)
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        trainer = _Trainer(run, splits, folder, checkpoints, save_minutes)
        with contextlib.closing(trainer):
            while trainer.epoch < run.epochs:
                trainer.train_epoch(stop)
            trainer.test(command)


class _Trainer:
    """The moving parts of one training: state, input position, checkpoints, metrics."""

    def __init__(
        self,
        run: ImageRun,
        splits: Mapping[str, ImageSplit],
        folder: Path,
        checkpoints: Checkpoints,
        save_minutes: float,
    ) -> None:
        self.run, self.splits, self.folder, self.save_minutes = run, splits, folder, save_minutes
        self.first_host = jax.process_index() == 0
        process = (jax.process_index(), jax.process_count())
        ages = splits["train"].ages
        self.counts = year_counts(ages)
        self.steps_per_epoch = -(-len(ages) // run.batch_size)
        tables = age_tables(run, ages)
        self.engine = make_engine(run, tables, self.steps_per_epoch)
        self.mesh = data_mesh()
        copies = replicated(self.mesh)
        self.step = jax.jit(functools.partial(train_step, self.engine, tables), donate_argnums=0, out_shardings=copies)
        self.add_statistics = jax.jit(
            functools.partial(statistics_step, self.engine, tables), donate_argnums=(0, 1), out_shardings=copies
        )
        self.update_fds = jax.jit(
            functools.partial(feature_smoothing.update, config=fds_config(run)), out_shardings=copies
        )
        self.evaluate = evaluator(self.engine, tables, self.mesh, splits, process)
        self.checkpoints = checkpoints
        self.progress = _Progress()
        if self.checkpoints.newest is None:
            state = starting_state(self.engine, folder.parent.parent, self._engine_of)
            self.state = jax.device_put(state, copies)
        else:
            template = state_template(self.engine, self.mesh)
            self.state, position = self.checkpoints.restore(self.checkpoints.newest, template)
            self.progress = _Progress(**position["progress"])
        self.done = int(self.state.step)
        self.batches = train_batches(
            splits["train"],
            image_size=run.image_size,
            batch_size=run.batch_size,
            seed=run.seed,
            padding=run.padding,
            flip=run.flip,
            workers=run.workers,
            process_index=process[0],
            process_count=process[1],
        )
        if self.done:
            self.batches.set_state(position["input"])
        self.writer = MetricsWriter(folder, self.done) if self.first_host else None
        self.started = self.saved = time.monotonic()
        self.bar = tqdm.tqdm(
            total=run.epochs * len(ages),
            initial=self.epoch * len(ages) + (self.done % self.steps_per_epoch) * run.batch_size,
            desc=f"{run.arm} seed {run.seed}",
            unit="img",
            unit_scale=True,
            disable=not self.first_host,
        )

    def _engine_of(self, other: ImageRun) -> Engine:
        return make_engine(other, age_tables(other, self.splits["train"].ages), self.steps_per_epoch)

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.done // self.steps_per_epoch

    def _next(self) -> tuple[dict[str, np.ndarray], dict[str, jax.Array]]:
        batch = next(self.batches)
        return batch, to_devices(self.mesh, batch)

    def train_epoch(self, stop: Callable[[], bool]) -> None:
        """The rest of this epoch, its statistics pass, its evaluation and checkpoint."""
        watch = _Watch(self.progress, self.splits["train"].names, self._write)
        number = self.epoch
        while self.epoch == number:
            rows, batch = self._next()
            self.state, terms = self.step(self.state, batch)
            self.done += 1
            samples = rows["index"][rows["mask"]]
            watch.add(self.done, samples, terms)
            self.bar.update(len(samples) * jax.process_count())
            stopping = stop_everywhere(stop)  # hosts agree on one step, so each asks after every step
            if self.epoch > number:
                break
            if stopping:
                self._save(watch, None)
                raise Stopped
            # Several hosts save together, and their clocks differ: they do so after epochs and before they are stopped.
            if jax.process_count() == 1 and time.monotonic() - self.saved > 60 * self.save_minutes:
                self._save(watch, None)
        watch.finish()
        if self.run.fds != "none":
            self._smooth_features(number)
        self._end_epoch(watch)
        if stopping:
            raise Stopped

    def _smooth_features(self, number: int) -> None:
        """One more pass over the training set, for the statistics of FDS (recipes 2.3)."""
        fds = self.state.fds
        statistics = jax.device_put(feature_smoothing.empty_statistics(*fds.running_mean.shape), replicated(self.mesh))
        for index in range(self.steps_per_epoch):
            _, batch = self._next()
            self.state, statistics = self.add_statistics(self.state, statistics, batch, jnp.int32(number))
            if index % IN_FLIGHT == 0:
                jax.block_until_ready(statistics)
        self.state = self.state._replace(fds=self.update_fds(self.state.fds, statistics, jnp.int32(number)))

    def _end_epoch(self, watch: _Watch) -> None:
        sums, _ = self.evaluate(self.state, self.splits["val"])
        found = shot_metrics(sums, self.counts)["all"]
        means = {f"train_{name}": total / self.progress.steps for name, total in self.progress.sums.items()}
        seconds = self.progress.seconds + time.monotonic() - self.started
        speed = self.done * self.run.batch_size / seconds
        validation = {f"val_{name}": value for name, value in found.items() if name != "count"}
        self._write(self.done, {"epoch": self.epoch, **means, **validation, "images_per_second": round(speed, 1)})
        self.bar.set_postfix(val_mae=f"{found['mae']:.2f}")
        self.progress = dataclasses.replace(self.progress, sums={}, steps=0)
        self._save(watch, found[self.run.select])

    def _save(self, watch: _Watch, selected: float | None) -> None:
        watch.finish()  # a checkpoint must not hold the step of a loss that nobody has looked at
        now = time.monotonic()
        self.progress.seconds += now - self.started
        self.started = self.saved = now
        position = {"progress": dataclasses.asdict(self.progress), "input": self.batches.get_state()}
        self.checkpoints.save(self.done, self.state, position, selected)

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self.writer is not None:
            self.writer.write(step, scalars)

    def test(self, command: str) -> None:
        """Evaluates the best epoch on val and test and writes the results."""
        self.checkpoints.wait()
        best = self.checkpoints.best
        state, _ = self.checkpoints.restore(best, state_template(self.engine, self.mesh))
        found = {split: self.evaluate(state, self.splits[split]) for split in ("val", "test")}
        if self.first_host:
            self._write_results(command, best, found)
        # The next run may start from these files.
        multihost_utils.sync_global_devices(f"{self.run.arm} seed {self.run.seed} is written")

    def _write_results(self, command: str, best: int, found: dict[str, tuple[ClassErrorSums, np.ndarray]]) -> None:
        meta = {
            "command": command,
            "epochs": self.run.epochs,
            "best_epoch": best // self.steps_per_epoch,
            "seconds": round(self.progress.seconds, 3),
            "images_per_second": round(self.done * self.run.batch_size / self.progress.seconds, 1),
            "devices": f"{jax.device_count()} {jax.devices()[0].device_kind}",
            "machine": f"{platform.machine()}, {cores()} cores, {platform.system()}",
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        }
        write_atomic(self.folder / "meta.json", json.dumps(meta, indent=2) + "\n")
        write_results(self.folder, self.run, self.splits, found)

    def close(self) -> None:
        """Stops the input and the display, and closes the files."""
        self.batches.close()
        self.bar.close()
        if self.writer is not None:
            self.writer.close()


def stop_everywhere(stop: Callable[[], bool]) -> bool:
    """Whether to stop after this step; several hosts do so after the same one, once a scheduler gave them notice."""
    if jax.process_count() == 1:
        return stop()
    # JAX stops at one later call, found by its number: over all runs of a process no number may come twice or lack.
    return multihost_utils.reached_preemption_sync_point(next(_CALLS))
