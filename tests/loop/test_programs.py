"""Trainings that differ in nothing but numbers share one compiled step, and get the numbers that they get alone."""

import jax
import numpy as np
import pytest
from small_network import ages_only, build, make_batch, start

from regcls_jax.loop.mesh import data_mesh, replicated, to_devices
from regcls_jax.loop.programs import programs_of
from regcls_jax.loop.steps import train_step

BALANCED = {"classes": 5, "balanced": True, "learning_rate": 1e-3}


def one_step(step, engine):
    mesh = data_mesh()
    rows = {name: np.asarray(values) for name, values in make_batch().items()}
    return step(jax.device_put(start(engine), replicated(mesh)), to_devices(mesh, rows))


@pytest.mark.parametrize("other", [{"seed": 4}, {"lam": 2.0}, {"scale": 3.0}])
def test_another_number_compiles_nothing_and_counts(other):
    data, mesh = ages_only(), data_mesh()
    engines = [build(**BALANCED), build(**BALANCED | other)]
    shared = [programs_of(engine, data, mesh) for engine in engines]
    assert shared[0] is shared[1]
    found = [one_step(lambda *args, own=engine: shared[0].step(own.numbers, *args), engine) for engine in engines]
    assert shared[0].step._cache_size() == 1
    for engine, (state, terms) in zip(engines, found, strict=True):
        alone, expected = one_step(jax.jit(lambda *args, own=engine: train_step(own, *args)), engine)
        assert float(terms["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-6)
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert float(found[0][1]["loss"]) != float(found[1][1]["loss"])


@pytest.mark.parametrize("other", [{"classes": 6}, {"learning_rate": 1e-2}, {"accumulate": 2}, {"steps_per_epoch": 3}])
def test_another_program_is_compiled(other):
    data, mesh = ages_only(), data_mesh()
    first = programs_of(build(**BALANCED), data, mesh)
    assert programs_of(build(**BALANCED | other), data, mesh) is not first


def test_other_data_is_another_program():
    mesh, engine = data_mesh(), build(**BALANCED)
    first = programs_of(engine, ages_only(), mesh)
    assert programs_of(engine, ages_only()._replace(digest="other"), mesh) is not first
