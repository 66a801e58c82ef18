"""How runs are laid out: chunks do not depend on devices or progress, every run once, padding big enough."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
from study_config import small

from regcls_jax import binning
from regcls_jax.data.source import Problem
from regcls_jax.study import arrays
from regcls_jax.study import plan as planning
from regcls_jax.study.plan import Sized, check, measure, padded_classes, plan, shape_of
from regcls_jax.study.runs import expand


def sizes_of(runs, samples=lambda data: 1000 + 300 * data.function):
    """Sizes without data: as many samples as `samples` says."""
    bins = functools.lru_cache(lambda classes: binning.fit(np.arange(4096.0), classes) if classes else None)
    return {
        run.trained_on: Sized(samples(run.data), "", samples(run.data) + 500, 2, 0, {"test": 500}, bins(run.classes))
        for run in runs
    }


@pytest.fixture
def runs():
    return expand(small(data={"functions": 5, "repetitions": 3}, arms={"bal": {"classes": 16}}))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_every_run_is_in_exactly_one_part_and_chunks_are_the_same_on_any_number_of_devices(runs, devices):
    sizes = sizes_of(runs)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, devices=devices)))
    assert sorted(itertools.chain.from_iterable(part.runs for part in parts)) == list(range(len(runs)))
    alone = itertools.chain.from_iterable(plan(runs, sizes, devices=1))
    assert {chunk for part in parts for chunk in part.chunks} == {chunk for part in alone for chunk in part.chunks}
    for part in parts:
        assert part.length % devices == 0
        assert len(part.chunks) <= part.length
        places = arrays.chunk_places(part, devices)
        assert len(set(places)) == len(part.chunks)
        shares = np.bincount(places // (part.length // devices), minlength=devices)
        assert shares.max() - shares.min() <= 1, "a half-full part must keep every device busy"
        for chunk, batches in zip(part.chunks, part.batches, strict=True):
            assert len(chunk) <= part.chunk
            for number in chunk:
                assert sizes[runs[number].trained_on].samples // runs[number].batch_size == batches
                assert shape_of(runs[number], sizes[runs[number].trained_on]) == part.shape


def test_a_wide_network_has_short_parts(runs):
    """So that the progress bar moves, and a kill loses little."""

    def longest(width):
        runs = expand(
            small(
                data={"functions": 5, "repetitions": 3}, arms={"reg": {}}, run={"hidden": (width, width), "epochs": 400}
            )
        )
        parts = itertools.chain.from_iterable(plan(runs, sizes_of(runs), devices=1, chunk=2))
        return max(part.length for part in parts)

    assert longest(6) > longest(128) >= 1


def test_a_loss_that_compares_examples_has_short_parts():
    def first_part(auxiliary, batch_size=250):
        runs = expand(
            small(
                data={"functions": 5, "repetitions": 3},
                arms={"reg": {"auxiliary": auxiliary}},
                run={"epochs": 20, "batch_size": batch_size},
            )
        )
        return plan(runs, sizes_of(runs), devices=1, chunk=2)[0][0]

    compares, plain = first_part("ranksim"), first_part("classification")
    assert plain.length > compares.length >= 1


def test_parts_are_bounded_in_bytes_and_cost(runs, monkeypatch):
    sizes = sizes_of(runs)
    whole = list(itertools.chain.from_iterable(plan(runs, sizes, devices=2)))
    assert max(len(part.chunks) for part in whole) > 1
    monkeypatch.setattr(planning, "PART_BYTES", 1 << 17)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, devices=2)))
    assert len(parts) > len(whole)
    for part in parts:
        members = [runs[n] for n in part.runs]
        # By hand: inputs and targets, splits, labels, orders; four bytes each, padded to the largest.
        of_shape = [run for run in runs if shape_of(run, sizes[run.trained_on]) == part.shape]
        rows = max(sizes[run.trained_on].rows for run in of_shape)
        numbers = len({run.data for run in members}) * (2 * rows + 500)
        numbers += rows * len({run.trained_on for run in members if run.classes})
        samples = max(sizes[run.trained_on].samples for run in of_shape)
        numbers += samples * members[0].epochs * len(planning.orders_of(part.runs, runs, sizes))
        assert 4 * numbers <= 1 << 17 or len(part.chunks) == 1
    monkeypatch.setattr(planning, "PART_COST", 1.0)
    parts = list(itertools.chain.from_iterable(plan(runs, sizes, devices=2)))
    assert max(part.length for part in parts) == 2


def test_finished_chunks_leave_a_part_and_unfinished_ones_stay_whole(runs):
    sizes = sizes_of(runs)
    part = max(itertools.chain.from_iterable(plan(runs, sizes, devices=1)), key=lambda p: len(p.chunks))
    first = set(part.chunks[0])
    left = part.without(first)
    assert left.chunks == part.chunks[1:]
    assert left.batches == part.batches[1:]
    assert (left.shape, left.length, left.chunk) == (part.shape, part.length, part.chunk)
    assert part.without(set(part.runs)) is None
    assert part.without(set()) == part
    with pytest.raises(ValueError, match="started with other chunks"):
        part.without({part.chunks[0][0]})


def test_padded_classes_hold_all_and_waste_at_most_a_third():
    for classes in range(2, 1100):
        padded = padded_classes(classes)
        assert classes <= padded <= classes * 3 / 2
        assert padded_classes(padded) == padded


def test_chunks_are_those_of_the_memory_on_any_number_of_devices(runs):
    def chunks(memory, devices):
        planned = plan(runs, sizes_of(runs), memory=memory, devices=devices)
        return {chunk for part in itertools.chain.from_iterable(planned) for chunk in part.chunks}

    large = chunks(16 << 30, 1)
    assert large == chunks(16 << 30, 4) == chunks(17 << 30, 1)
    assert max(map(len, large)) > max(map(len, chunks(None, 1)))


def problem(*sizes, targets=None, inputs=None):
    """Splits of given sizes one after another; targets and inputs of all rows may be given."""
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    x = np.linspace(-1, 1, sum(sizes))[:, None] if inputs is None else inputs
    y = np.sin(x[:, 0]) if targets is None else targets
    return Problem(x, y, dict(zip(("train", "test"), rows, strict=False)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            problem(100, targets=np.where(np.arange(100) == 7, np.nan, np.arange(100.0))),
            "train targets: 1 of 100 .* row 7",
        ),
        (problem(100, targets=np.zeros(100)), "training targets: the target range"),
        (problem(3), "training targets: 4 classes are more than the 3 samples"),
        (
            problem(50, inputs=np.full((50, 1), np.inf), targets=np.arange(50.0)),
            "train inputs: 50 of 50 values are not finite",
        ),
    ],
)
def test_bad_data_is_one_error_that_names_the_data_set(runs, data, message):
    trained_on = next(run.trained_on for run in runs if run.classes == 4)
    with pytest.raises(ValueError, match=rf"clean/uniform/function 0/repetition 0, {message}"):
        checked(trained_on, data)


def checked(trained_on, data):
    """What the engine does with data before it trains on them."""
    check(trained_on.data.name, data)
    return measure(trained_on, data)


def test_vector_targets_have_no_classes(runs):
    vectors = problem(100, targets=np.zeros((100, 2)))
    assert measure(next(run.trained_on for run in runs if not run.classes), vectors).outputs == 2
    with pytest.raises(ValueError, match="need one target, not vectors of 2"):
        measure(next(run.trained_on for run in runs if run.classes), vectors)


def test_best_on_must_be_a_split(runs):
    with pytest.raises(ValueError, match="arm 'reg': unknown best_on 'valid'; the splits are test"):
        shape_of(dataclasses.replace(runs[0], best_on="valid"), Sized(1000, "", 1010, 2, 0, {"test": 10}, None))


def test_too_few_samples_for_a_batch_is_an_error(runs):
    with pytest.raises(ValueError, match="200 training samples do not fill one batch of 256"):
        plan(runs, sizes_of(runs, lambda data: 200), devices=1)


def test_orders_are_permutations_that_differ_between_epochs_seeds_and_sizes():
    orders = arrays.sample_orders(0, 50, 3)
    assert orders.dtype == np.int32
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(50), (3, 1)))
    assert len({row.tobytes() for row in (*orders, *arrays.sample_orders(421, 50, 3))}) == 6
    np.testing.assert_array_equal(orders, arrays._draw_orders(0, 50, 3))


def test_keys_differ_between_seeds_and_functions_and_are_shared_by_what_is_compared(runs):
    data = jax.random.key_data(arrays.run_keys(runs))
    by_key = {}
    for run, key in zip(runs, map(bytes, np.asarray(data)), strict=True):
        by_key.setdefault(key, set()).add((run.seed, run.data.function))
    assert all(len(members) == 1 for members in by_key.values())
    assert len(by_key) == 15


def test_separate_initial_weights_set_models_with_classes_apart(runs):
    def keys(members):
        return np.asarray(jax.random.key_data(arrays.run_keys(members)))

    separate = [dataclasses.replace(run, initial_weights="separate") for run in runs]
    differs = (keys(separate) != keys(runs)).all(axis=1)
    np.testing.assert_array_equal(differs, [run.classes > 0 for run in runs])
    assert differs.any()
    assert not differs.all()


def test_arrays_hold_every_run_s_own_data_once(runs):
    @functools.cache
    def read(data):
        found = problem(1000 + 300 * data.function, 20)
        return found._replace(targets=found.targets + 10 * data.function + data.repetition)

    sizes = {run.trained_on: measure(run.trained_on, read(run.data)) for run in runs}
    for parts in plan(runs, sizes, devices=2):
        padding = arrays.padding(parts, runs, sizes)
        for part in parts:
            run_arrays, batches, made = arrays.build(part, padding, runs, sizes, read, 2)
            assert batches.sum() == sum(part.batches)
            assert len(made.inputs) == padding.data <= len({run.data for run in runs})
            for place, chunk in zip(arrays.chunk_places(part, 2), part.chunks, strict=True):
                for member, number in enumerate(chunk):
                    run, own = runs[number], run_arrays.training_set[place, member]
                    x, y, splits, *_ = read(run.data)
                    where, n = made.problem[own], len(splits["train"])
                    data = made.data[where]
                    np.testing.assert_array_equal(made.targets[data, : len(y)], y.astype(np.float32))
                    np.testing.assert_array_equal(made.inputs[data, : len(x)], x.astype(np.float32))
                    assert list(made.eval_sizes[where]) == [n, 20]
                    np.testing.assert_array_equal(made.eval_rows[where, 1, :20], splits["test"])
                    order = made.orders[run_arrays.order[place, member]]
                    np.testing.assert_array_equal(order[:, :n], arrays.sample_orders(run.seed, n, run.epochs))
                    assert run_arrays.numbers["lam"][place, member] == np.float32(run.lam)
                    if bins := sizes[run.trained_on].bins:
                        expected = np.digitize(y[splits["train"]], bins.edges) - 1
                        np.testing.assert_array_equal(made.labels[own, :n], expected.clip(0, bins.classes - 1))
                        assert made.classes[own] == bins.classes
