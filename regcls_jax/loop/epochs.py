"""The training loop: one network over streamed examples on all devices, resumable at any moment to the same numbers."""

import contextlib
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from regcls_jax import feature_smoothing
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.checkpoints import Checkpoints
from regcls_jax.loop.evaluate import Evaluate, evaluator
from regcls_jax.loop.mesh import IN_FLIGHT, check_batch_size, data_mesh, replicated, to_devices
from regcls_jax.loop.predict import predictor
from regcls_jax.loop.programs import Programs, programs_of
from regcls_jax.loop.results import also_selected, result_rows, write_results
from regcls_jax.loop.runs import LAST, LoopRun
from regcls_jax.loop.start import check_data, starting_state, state_template
from regcls_jax.loop.steps import Engine, TrainState, make_engine
from regcls_jax.loop.task import Batches, Measure
from regcls_jax.loop.watch import Notes, Watch
from regcls_jax.loop.writer import MetricsWriter
from regcls_jax.store.files import to_json, write_atomic
from regcls_jax.store.meta import facts

_CALLS = itertools.count(1)


class Stopped(Exception):
    """The training was asked to stop; everything is saved."""


class Training(NamedTuple):
    """What a training works with and does not change."""

    engine: Engine
    data: Prepared
    measure: Measure
    mesh: Mesh
    programs: Programs
    evaluate: Evaluate
    batches: Batches
    checkpoints: Checkpoints
    writer: MetricsWriter | None
    bar: tqdm.tqdm

    @property
    def samples(self) -> int:
        """Examples to train on."""
        return len(self.data.splits["train"].names)


@dataclasses.dataclass
class Progress:
    """What a training changes: the state after `done` steps, its notes, and when these and a checkpoint were made."""

    state: TrainState
    done: int
    notes: Notes
    noted: float
    saved: float


def train_run(
    run: LoopRun,
    data: Prepared,
    folder: Path,
    *,
    command: str,
    save_minutes: float = 10.0,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains `run` in `folder`, `<workdir>/<arm>/seed<k>`, from where it was stopped, and tests its best epoch.

    Leaves rows.csv.gz and predictions.npz (see `write_results`), metrics.jsonl and tensorboard/, checkpoints/
    (the newest and the best), meta.json. Every host of a multi-host run calls this; only the first one writes files of
    its own.

    Args:
      run: what to train.
      data: what on: splits train, val and test.
      folder: exists; belongs to this run alone.
      command: as typed, for meta.json.
      save_minutes: time between checkpoints inside an epoch (one host); after every epoch there is one anyway.
      stop: asked after every step; True saves and raises `Stopped`.

    Raises:
      Stopped: on request.
      ValueError: a loss is not finite (names step and samples), or the batch does not fit the devices.
      OSError: the arm it starts from is not trained, or a checkpoint cannot be read or is of other data.
    """
    check_batch_size(run.batch_size, run.accumulate)
    with contextlib.ExitStack() as opened:
        training, progress = set_up(run, data, folder, opened)
        per_epoch = training.engine.steps_per_epoch
        while progress.done < run.epochs * per_epoch:
            stopping = train_epoch(training, progress, save_minutes, stop)
            if run.fds != "none":
                smooth_features(training, progress)
            end_epoch(training, progress)
            if stopping:
                raise Stopped
        evaluate_best(training, progress, folder, command)


def set_up(run: LoopRun, data: Prepared, folder: Path, opened: contextlib.ExitStack) -> tuple[Training, Progress]:
    """Everything before the first step, or the next one of a training that was stopped; `opened` closes it."""
    process = (jax.process_index(), jax.process_count())
    mesh = data_mesh()
    engine = make_engine(run, data)
    engine = engine._replace(numbers=jax.device_put(engine.numbers, replicated(mesh)))
    if process[0] == 0 and (odd := engine.fitted.misfit):
        tqdm.tqdm.write(f"Note: arm {run.arm!r}, seed {run.seed}: {odd}", file=sys.stderr)
    measure = engine.task.measure(run, data)
    checkpoints = opened.enter_context(contextlib.closing(Checkpoints(folder)))
    batches = opened.enter_context(contextlib.closing(engine.task.train_batches(run, data.splits["train"], process)))
    if checkpoints.newest is None:
        state = starting_state(engine, data, folder.parent.parent)
        state, notes = jax.device_put(state, replicated(mesh)), Notes()
    else:
        state, position = checkpoints.restore(checkpoints.newest, state_template(engine, mesh))
        check_data(folder, position, data)
        notes = Notes(**position["progress"])
        batches.set_state(position["input"])
    done, samples = int(state.step), len(data.splits["train"].names)
    writer = None
    if process[0] == 0:
        writer = opened.enter_context(contextlib.closing(MetricsWriter(folder, done)))
    epoch, step = divmod(done, engine.steps_per_epoch)
    bar = tqdm.tqdm(
        total=run.epochs * samples,
        initial=epoch * samples + step * run.batch_size // run.rows_per_sample,
        desc=f"{run.arm} seed {run.seed}",
        unit=f" {engine.task.samples}",
        unit_scale=True,
        disable=writer is None,
    )
    opened.enter_context(contextlib.closing(bar))
    evaluate = evaluator(engine, measure, mesh, process)
    programs = programs_of(engine, data, mesh)
    training = Training(engine, data, measure, mesh, programs, evaluate, batches, checkpoints, writer, bar)
    now = time.monotonic()
    return training, Progress(state, done, notes, now, now)


def train_epoch(training: Training, progress: Progress, save_minutes: float, stop: Callable[[], bool]) -> bool:
    """The rest of this epoch's steps; whether to stop after it. Raises `Stopped` if asked before its last step."""
    engine = training.engine
    watch = Watch(progress.notes, training.data.splits["train"].names, _write(training))
    number = progress.done // engine.steps_per_epoch
    while True:
        rows, batch = _next(training)
        progress.state, terms = training.programs.step(engine.numbers, progress.state, batch)
        progress.done += 1
        samples = rows["index"][rows["mask"]]
        watch.add(progress.done, samples, terms)
        training.bar.update(len(samples) * jax.process_count() / engine.run.rows_per_sample)
        stopping = stop_everywhere(stop)  # hosts agree on one step, so each asks after every step
        if progress.done // engine.steps_per_epoch > number:
            watch.finish()
            return stopping
        # Several hosts save together, and their clocks differ: they do so after epochs and before they are stopped.
        if stopping or (jax.process_count() == 1 and time.monotonic() - progress.saved > 60 * save_minutes):
            watch.finish()  # a checkpoint must not hold the step of a loss that nobody has looked at
            _save(training, progress, None)
        if stopping:
            raise Stopped


def smooth_features(training: Training, progress: Progress) -> None:
    """One more pass over the training set, or what the task takes of it, for the statistics of FDS (recipes 2.3)."""
    number = jnp.int32(progress.done // training.engine.steps_per_epoch - 1)
    assert progress.state.fds is not None  # the run smooths features
    shape = progress.state.fds.running_mean.shape
    statistics = jax.device_put(feature_smoothing.empty_statistics(*shape), replicated(training.mesh))
    with contextlib.closing(_statistics_batches(training)) as batches:
        for index, batch in enumerate(batches):
            placed = to_devices(training.mesh, batch)
            progress.state, statistics = training.programs.add_statistics(progress.state, statistics, placed, number)
            if index % IN_FLIGHT == 0:
                jax.block_until_ready(statistics)
    fds = training.programs.update_fds(progress.state.fds, statistics, number)
    progress.state = progress.state._replace(fds=fds)


def _statistics_batches(training: Training) -> Generator[dict[str, np.ndarray], None, None]:
    """The batches of one pass; of the training batches without closing them."""
    engine = training.engine
    if engine.task.statistics is None:
        yield from itertools.islice(training.batches, engine.steps_per_epoch)
        return
    statistics = engine.task.statistics(engine.run, training.data, (jax.process_index(), jax.process_count()))
    with contextlib.closing(statistics) as batches:
        yield from batches


def end_epoch(training: Training, progress: Progress) -> None:
    """Validation, and whatever else selects an epoch; a line of metrics and a checkpoint."""
    run, notes = training.engine.run, progress.notes
    found = {
        split: training.measure.metrics(training.evaluate(progress.state, training.data.splits[split]))["all"]
        for split in ("val", run.also_select)
        if split
    }
    means = {f"train_{name}": total / notes.steps for name, total in notes.sums.items()}
    evaluated = {
        f"{split}_{name}": value for split, of in found.items() for name, value in of.items() if name != "count"
    }
    seconds = notes.seconds + time.monotonic() - progress.noted
    speed = {f"{training.engine.task.samples}_per_second": round(_samples(run, progress) / seconds, 1)}
    epoch = progress.done // training.engine.steps_per_epoch
    _write(training)(progress.done, {"epoch": epoch, **means, **evaluated, **speed})
    shown = "mse" if run.select == LAST else run.select
    training.bar.set_postfix({f"val_{shown}": f"{found['val'][shown]:.3g}"})
    progress.notes = Notes(seconds=notes.seconds)
    also = found[run.also_select][run.also_metric] if run.also_select else None
    # The lowest counts, and of equals the first.
    selected = -float(epoch) if run.select == LAST else found["val"][run.select]
    _save(training, progress, selected, also)


def evaluate_best(training: Training, progress: Progress, folder: Path, command: str) -> None:
    """Evaluates the best epoch on val and test, a second best one on its split, and writes the results."""
    engine, data, run = training.engine, training.data, training.engine.run
    training.checkpoints.wait()
    best, also_best = training.checkpoints.best, training.checkpoints.also_best
    assert best is not None  # every epoch ends with a checkpoint that has a metric
    state, _ = training.checkpoints.restore(best, state_template(engine, training.mesh))
    found = {split: training.evaluate(state, data.splits[split]) for split in ("val", "test")}
    process = (jax.process_index(), jax.process_count())
    arrays = training.measure.arrays(found, predictor(engine, state, process))
    also, epochs = None, {"best_epoch": best // engine.steps_per_epoch}
    if also_best is not None and (split := run.also_select):
        state, _ = training.checkpoints.restore(also_best, state_template(engine, training.mesh))
        also = {split: training.evaluate(state, data.splits[split])}
        epochs[f"best_epoch_on_{split}"] = also_best // engine.steps_per_epoch
    if jax.process_index() == 0:
        seconds = progress.notes.seconds
        meta = {
            **facts(command),
            **{"dataset": data.name, "target": data.target, "unit": data.unit, "digest": data.digest},
            "epochs": run.epochs,
            **epochs,
            "seconds": round(seconds, 3),
            f"{engine.task.samples}_per_second": round(_samples(run, progress) / seconds, 1),
            "devices": f"{jax.device_count()} {jax.devices()[0].device_kind}",
        }
        write_atomic(folder / "meta.json", to_json(meta))
        rows = result_rows(run, data, training.measure, found)
        if also is not None:
            rows = also_selected(rows, result_rows(run, data, training.measure, also))
        write_results(folder, rows, arrays)
    # The next run may start from these files.
    multihost_utils.sync_global_devices(f"{run.arm} seed {run.seed} is written")


def _samples(run: LoopRun, progress: Progress) -> float:
    """How many samples were trained on."""
    return progress.done * run.batch_size / run.rows_per_sample


def _next(training: Training) -> tuple[dict[str, np.ndarray], dict[str, jax.Array]]:
    batch = next(training.batches)
    return batch, to_devices(training.mesh, batch)


def _save(training: Training, progress: Progress, selected: float | None, also: float | None = None) -> None:
    now = time.monotonic()
    progress.notes.seconds += now - progress.noted
    progress.noted = progress.saved = now
    position = {"progress": dataclasses.asdict(progress.notes), "input": training.batches.get_state()}
    training.checkpoints.save(progress.done, progress.state, {**position, "data": training.data.digest}, selected, also)


def _write(training: Training) -> Callable[[int, Mapping[str, float]], None]:
    return training.writer.write if training.writer is not None else lambda step, scalars: None


def stop_everywhere(stop: Callable[[], bool]) -> bool:
    """Whether to stop after this step; several hosts do so after the same one, once a scheduler gave them notice."""
    if jax.process_count() == 1:
        return stop()
    # JAX stops at one later call, which it finds by its number: every call of a process needs the number after the
    # last one's, over all its runs.
    return multihost_utils.reached_preemption_sync_point(next(_CALLS))
