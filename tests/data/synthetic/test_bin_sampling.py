"""Rows chosen bin by bin: fast grouping against a mask per bin, for targets on and beside the edges."""

import naive_1d
import numpy as np

from regcls_jax.data.synthetic import bin_sampling


def test_members_on_an_edge_belong_to_both_bins():
    # Multiples of 1/1024 put every target on an edge of the 1,024 bins of [0, 1]. With few targets there are
    # empty bins and bins with one member: neither may take anything off the stream.
    for targets in (400, 5_000):
        rng = np.random.RandomState(targets)
        y = np.append(rng.randint(0, 1025, targets) / 1024, [0, 1])
        edges = np.linspace(0, 1, 1025)
        fast, naive = np.random.RandomState(1), np.random.RandomState(1)
        rows = bin_sampling.choose_uniform(fast, y, 3 * 1024)
        np.testing.assert_array_equal(rows, naive_1d.per_bin(naive, np.arange(len(y)), y, edges, 4))
        assert fast.randint(2**31) == naive.randint(2**31)


def test_peak_window_equals_masks_bin_by_bin():
    # The window [.25, .75] has edges at multiples of 1/2048, with targets on them and beyond it.
    y = np.append(np.random.RandomState(0).randint(0, 2049, 3_000) / 2048, [0, 1])
    fast, naive = np.random.RandomState(1), np.random.RandomState(1)
    rows = bin_sampling.choose_peaked(fast, y, peak=0.5, ratio=0.25, total=12 * 1024, minimum=5)
    window, everywhere = np.linspace(0.25, 0.75, 1025), np.linspace(0, 1, 1025)
    frequent = naive_1d.per_bin(naive, np.arange(len(y)), y, window, 14)
    naive.shuffle(frequent)
    rest = naive_1d.per_bin(naive, np.arange(len(y)), y, everywhere, 6)
    np.testing.assert_array_equal(rows, np.append(frequent[: 11 * 1024 - 5], rest))


def test_targets_one_bit_beside_an_edge_stay_in_their_bin():
    # Arithmetic alone puts some of these into the neighbouring bin.
    edges = np.linspace(-1.3202045853306144, 1.3202045987840634, 1025)
    y = np.concatenate([edges, np.nextafter(edges[1:], -9), np.nextafter(edges[:-1], 9)])
    rows = bin_sampling.choose_uniform(np.random.RandomState(0), y, 20 * 1024)
    naive = naive_1d.per_bin(np.random.RandomState(0), np.arange(len(y)), y, edges, 21)
    np.testing.assert_array_equal(rows, naive)


def test_exact_counts_inside_and_outside_the_window():
    y = np.random.RandomState(0).uniform(-1, 1, 20_000)
    rows = bin_sampling.choose_peaked_exactly(
        np.random.RandomState(1), y, peak=0.95, ratio=0.1, frequent=2_500, rest=1_501
    )
    inside = np.abs(y[rows] - 0.95) <= 0.1 * np.ptp(y)
    assert inside[:2_500].all()
    assert not inside[2_500:].any()
    assert len(rows) == 4_001


def test_a_peak_beyond_the_targets_leaves_the_rest():
    y = np.random.RandomState(0).uniform(-1, 1, 20_000)
    rng = np.random.RandomState(1)
    assert len(bin_sampling.choose_peaked(rng, y, peak=2.0, ratio=0.1, total=9_000, minimum=1)) == 2 * 1024
    assert len(bin_sampling.choose_peaked_exactly(rng, y, peak=-2.0, ratio=0.1, frequent=9, rest=700)) == 700
