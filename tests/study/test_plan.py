"""How runs are laid out: chunks do not depend on devices or progress, every run once, padding big enough."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
from study_config import small

from regcls_jax.data.source import Problem
from regcls_jax.data.synthetic.generator import Split
from regcls_jax.study import arrays as tables
from regcls_jax.study import plan as planning
from regcls_jax.study.plan import Sized, chunk_size, measure, padded_classes, plan, shape_of, task_of
from regcls_jax.study.runs import expand


def sizes_of(runs, samples=lambda data: 1000 + 300 * data.function):
    """Sizes without data: as many samples as `samples` says."""
    bins = functools.lru_cache(lambda classes: tables.binning.fit(np.arange(4096.0), classes) if classes else None)
    return {task_of(run): Sized(samples(run.data), 500, ("test",), bins(run.classes)) for run in runs}


@pytest.fixture
def runs():
    return expand(small(data={"functions": 5, "repetitions": 3}, arms={"bal": {"classes": 16}}))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_every_run_is_in_exactly_one_part_and_chunks_are_the_same_on_any_number_of_devices(runs, devices):
    sizes = sizes_of(runs)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=devices)))
    assert sorted(itertools.chain.from_iterable(part.runs for part in parts)) == list(range(len(runs)))
    alone = itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=1))
    assert {chunk for part in parts for chunk in part.chunks} == {chunk for part in alone for chunk in part.chunks}
    for part in parts:
        assert part.length % devices == 0
        assert len(part.chunks) <= part.length
        places = tables.chunk_places(part, devices)
        assert len(set(places)) == len(part.chunks)
        shares = np.bincount(places // (part.length // devices), minlength=devices)
        assert shares.max() - shares.min() <= 1, "a half-full part must keep every device busy"
        for chunk, batches in zip(part.chunks, part.batches, strict=True):
            assert len(chunk) <= part.chunk
            for number in chunk:
                assert sizes[task_of(runs[number])].samples // runs[number].batch_size == batches
                assert shape_of(runs[number], sizes[task_of(runs[number])]) == part.shape


def test_parts_are_bounded_in_orders_and_cost(runs, monkeypatch):
    sizes = sizes_of(runs)
    monkeypatch.setattr(planning, "MAX_ORDERS", 6)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=2)))
    assert max(len(part.chunks) for part in parts) > 1
    assert max(len(planning.orders_of(part.runs, runs, sizes)) for part in parts) == 6
    monkeypatch.setattr(planning, "MAX_TASKS", 12)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=2)))
    assert max(len({task_of(runs[n]) for n in part.runs}) for part in parts) <= 12
    monkeypatch.setattr(planning, "PART_COST", 1.0)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=2)))
    assert max(part.length for part in parts) == 2


def test_finished_chunks_leave_a_part_and_unfinished_ones_stay_whole(runs):
    sizes = sizes_of(runs)
    part = max(itertools.chain.from_iterable(plan(runs, sizes, platform="cpu", devices=1)), key=lambda p: len(p.chunks))
    first = set(part.chunks[0])
    left = part.without(first)
    assert left.chunks == part.chunks[1:]
    assert left.batches == part.batches[1:]
    assert (left.shape, left.length, left.chunk) == (part.shape, part.length, part.chunk)
    assert part.without(set(part.runs)) is None
    assert part.without(set()) == part
    with pytest.raises(ValueError, match="begun with other chunks"):
        part.without({part.chunks[0][0]})


def test_padded_classes_hold_all_and_waste_at_most_a_third():
    for classes in range(2, 1100):
        padded = padded_classes(classes)
        assert classes <= padded <= classes * 3 / 2
        assert padded_classes(padded) == padded


def test_chunks_shrink_with_the_classes_on_cpu_and_are_wide_on_accelerators(runs):
    shape = shape_of(runs[0], Sized(1000, 10, ("test",), None))
    assert [chunk_size(shape._replace(classes=c), "cpu") for c in (0, 64, 256, 1024, 65536)] == [8, 8, 4, 2, 2]
    assert chunk_size(shape._replace(classes=64), "gpu") == 1024


def split(n, target=None):
    x = np.linspace(-1, 1, n)[:, None]
    return Split(x, np.sin(x[:, 0]) if target is None else target)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (split(100, np.where(np.arange(100) == 7, np.nan, np.arange(100.0))), "train targets: 1 of 100 .* row 7"),
        (split(100, np.zeros(100)), "training targets: the target range"),
        (split(3), "training targets: 4 classes are more than the 3 samples"),
        (Split(np.full((50, 1), np.inf), np.arange(50.0)), "train inputs: 50 of 50 values are not finite"),
    ],
)
def test_bad_data_is_one_error_that_names_the_data_set(runs, train, message):
    task = next(task_of(run) for run in runs if run.classes == 4)
    with pytest.raises(ValueError, match=rf"clean/uniform/function 0/repetition 0, {message}"):
        measure(task, Problem(train, {"train": train}))


def test_too_few_samples_for_a_batch_is_an_error(runs):
    with pytest.raises(ValueError, match="200 training samples do not fill one batch of 256"):
        plan(runs, sizes_of(runs, lambda data: 200), platform="cpu", devices=1)


def test_orders_are_permutations_that_differ_between_epochs_seeds_and_sizes():
    orders = tables.sample_orders(0, 50, 3)
    assert orders.dtype == np.int32
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(50), (3, 1)))
    assert len({row.tobytes() for row in (*orders, *tables.sample_orders(421, 50, 3))}) == 6
    np.testing.assert_array_equal(orders, tables.sample_orders.__wrapped__(0, 50, 3))


def test_keys_differ_between_seeds_and_functions_and_are_shared_by_what_is_compared(runs):
    data = jax.random.key_data(tables.run_keys(runs))
    by_key = {}
    for run, key in zip(runs, map(bytes, np.asarray(data)), strict=True):
        by_key.setdefault(key, set()).add((run.seed, run.data.function))
    assert all(len(members) == 1 for members in by_key.values())
    assert len(by_key) == 15


def test_separate_initial_weights_set_models_with_classes_apart(runs):
    def keys(members):
        return np.asarray(jax.random.key_data(tables.run_keys(members)))

    separate = [dataclasses.replace(run, initial_weights="separate") for run in runs]
    differs = (keys(separate) != keys(runs)).all(axis=1)
    np.testing.assert_array_equal(differs, [run.classes > 0 for run in runs])
    assert differs.any()
    assert not differs.all()


def test_tables_hold_every_run_s_own_data(runs):
    problems = {}

    def read(data):
        if data not in problems:
            n = 1000 + 300 * data.function
            shifted = Split(split(n).x, split(n).y + 10 * data.function + data.repetition)
            problems[data] = Problem(shifted, {"train": shifted, "test": split(20)})
        return problems[data]

    sizes = {task_of(run): measure(task_of(run), read(run.data)) for run in runs}
    for parts in plan(runs, sizes, platform="cpu", devices=2):
        padding = tables.padding(parts, runs, sizes)
        for part in parts:
            arrays, batches, table = tables.build(part, padding, runs, sizes, read, 2)
            assert batches.sum() == sum(part.batches)
            for place, chunk in zip(tables.chunk_places(part, 2), part.chunks, strict=True):
                for member, number in enumerate(chunk):
                    run, row = runs[number], arrays.task[place, member]
                    train, bins = read(run.data).train, sizes[task_of(run)].bins
                    n = len(train.y)
                    np.testing.assert_array_equal(table.targets[row, :n], train.y.astype(np.float32))
                    np.testing.assert_array_equal(table.inputs[row, :n], train.x.astype(np.float32))
                    assert not table.targets[row, n:].any()
                    assert list(table.eval_sizes[row]) == [n, 20]
                    np.testing.assert_array_equal(table.eval_targets[row, 0, :n], train.y.astype(np.float32))
                    order = table.orders[arrays.order[place, member]]
                    np.testing.assert_array_equal(order[:, :n], tables.sample_orders(run.seed, n, run.epochs))
                    assert arrays.lam[place, member] == np.float32(run.lam)
                    if bins:
                        expected = np.digitize(train.y, bins.edges) - 1
                        np.testing.assert_array_equal(table.labels[row, :n], expected.clip(0, bins.classes - 1))
                        assert table.classes[row] == bins.classes
