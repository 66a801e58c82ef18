"""What is drawn, and what lighting and jitter make of colours, against the published steps one by one."""

import depth_oracle
import numpy as np
import pytest

from regcls_jax.data.depth.draws import ORDERS, colour_map, draw_epoch
from regcls_jax.data.depth.inputs import network_input


def test_an_epoch_is_a_function_of_seed_and_number():
    first = draw_epoch(50, 3, 7)
    draw_epoch.cache_clear()
    for one, again in zip(first, draw_epoch(50, 3, 7), strict=True):
        np.testing.assert_array_equal(one, again)
    for other in (draw_epoch(50, 3, 8), draw_epoch(50, 4, 7)):
        assert not any(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_draws_have_the_published_distributions():
    draws = draw_epoch(60_000, 0, 0)
    assert sorted(draws.order) == list(range(60_000))
    assert abs(draws.flips.mean() - 0.5) < 0.015
    assert -5 <= draws.angles.min() < -4.99
    assert 4.99 < draws.angles.max() <= 5
    assert abs(draws.angles.mean()) < 0.1
    np.testing.assert_allclose(draws.lighting.std(0), 0.1, atol=0.002)
    assert np.abs(draws.jitters).max(0).min() > 0.3999
    assert np.abs(draws.jitters).max() <= 0.4
    np.testing.assert_allclose(np.bincount(draws.orders), 10_000, atol=600)
    assert len({tuple(order) for order in ORDERS}) == 6
    columns = [draws.angles, *draws.lighting.T, *draws.jitters.T, draws.orders, draws.flips]
    assert np.abs(np.corrcoef(columns) - np.eye(len(columns))).max() < 0.03, "independent"


@pytest.mark.parametrize("order", ORDERS.tolist())
def test_colours_change_as_published_step_by_step(order):
    generator = np.random.default_rng(order)
    pixels = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    pixels[:5, :5] = 0
    alphas, jitters = generator.normal(0, 0.1, 3), [-0.35, -0.3, generator.uniform(-0.4, 0.4)]
    expected = depth_oracle.lighting(pixels.transpose(2, 0, 1) / 255, alphas)
    for kind in order:
        expected = depth_oracle.JITTERS[kind](expected, jitters[kind])
    assert expected.max() > 1, "nothing is clipped"
    expected = (expected - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
    colour = colour_map(pixels, alphas, jitters, np.array(order))
    assert (colour.dtype, colour.shape) == (np.float32, (3, 4))
    got = network_input({"input": pixels[None], "colour": colour[None]})
    assert (got.dtype, got.shape) == (np.float32, (1, 20, 30, 3))
    np.testing.assert_allclose(got[0], expected.transpose(1, 2, 0), atol=2e-6)


def test_without_a_change_of_colours_pictures_are_normalised():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3) * 10
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(network_input({"input": pixels}), expected, atol=1e-6)
    same = np.broadcast_to(np.eye(3, 4, dtype=np.float32), (2, 3, 4))
    np.testing.assert_allclose(network_input({"input": pixels, "colour": same}), expected, atol=1e-6)
