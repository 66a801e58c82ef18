"""Figures 1 and 2: densities against a loop, what the figures show, equal bytes, errors."""

import os
import subprocess
import sys

import matplotlib.colors
import numpy as np
import pytest
from paths import LAUNCH
from report_rows import texts

from regcls_jax.data.synthetic.generator import Dataset, Split, functions
from regcls_jax.report.drawing import render
from regcls_jax.report.paper.data_figures import densities, fig1_figure, fig2_figure, write_figures

LAUNCHER = LAUNCH / "figures.py"


def dataset(low=-1.0, high=1.0, power=1.0, count=300):
    """Samples of function 0; a power above 1 crowds the inputs around the middle."""
    x = np.sign(grid := np.linspace(-1, 1, count)) * np.abs(grid) ** power * (high - low) / 2 + (high + low) / 2
    split = Split(x[:, None], functions(1)[0](x))
    return Dataset(split, split, Split(split.x + 0.01, split.y))


def samplings():
    return {name: dataset(power=power) for name, power in (("uniform", 1.0), ("severe", 4.0))}


def test_densities_against_a_loop():
    rng = np.random.default_rng(0)
    edges = np.linspace(-1, 1, 11)
    targets = np.concatenate([rng.uniform(-1, 1, 200), edges])  # every edge, both ends
    expected = []
    for target in targets:
        here = sum(edges[1:-1] <= target)  # bins hold their left edge, the last one both
        expected.append(sum(sum(edges[1:-1] <= other) == here for other in targets))
    assert densities(targets, edges).tolist() == expected


def test_targets_outside_the_edges_are_an_error():
    with pytest.raises(ValueError, match=r"targets in \[.*1\.5\] leave the edges \[0\.0, 1\.0\]"):
        densities(np.array([0.5, 1.5]), np.array([0.0, 0.5, 1.0]))


def test_figure1_shows_four_classes_per_scenario_and_test_points_out_of_distribution_only():
    sets = {"clean": dataset(), "noisy": dataset(), "ood": dataset(-1.0, 0.0)}
    figure = fig1_figure(sets, functions(1)[0])
    points = [[len(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) > 1] for axes in figure.axes]
    assert points == [[300], [300], [300, 300]]
    bands = [patch.get_height() for patch in figure.axes[2].patches]
    targets = sets["ood"].train.y
    np.testing.assert_allclose(bands, [np.ptp(targets) / 4] * 4, rtol=1e-12)
    words = texts(render(figure)["svg"])
    assert [word for word in words if word.startswith("class ")] == [f"class {k}" for k in (1, 2, 3, 4)] * 3
    for word in ("clean data", "noisy data", "out of distribution", "training", "test", "f(x)"):
        assert words.count(word) == 1


def test_figure2_is_darker_where_samples_are_dense():
    figure = fig2_figure(samplings())
    severe = figure.axes[1]
    scatter = next(c for c in severe.collections if len(c.get_offsets()) > 1)
    figure.draw_without_rendering()
    lightness = matplotlib.colors.rgb_to_hsv(scatter.get_facecolors()[:, :3])[:, 2]
    counts = scatter.get_array()
    assert np.all(np.diff(counts) >= 0)  # the densest are drawn last
    assert np.all(np.diff(lightness) <= 1e-9)
    assert lightness[-1] < lightness[0] - 0.2
    histogram = figure.axes[3].patches[0].get_data()
    assert histogram.values.sum() == 300
    assert len(histogram.values) == 100
    low, high = figure.axes[3].get_ylim()
    assert low == 1
    assert high > histogram.values.max()  # the peak is inside, though the columns share an axis


def test_figures_are_reproducible():
    pairs = [(render(fig2_figure(samplings())), render(fig2_figure(samplings())))]
    sets = {"clean": dataset()}
    pairs.append((render(fig1_figure(sets, functions(1)[0])), render(fig1_figure(sets, functions(1)[0]))))
    for first, second in pairs:
        assert first == second
        assert first["png"].startswith(b"\x89PNG")


def test_the_real_data_sets(tmp_path):
    written = write_figures(tmp_path / "out", tmp_path / "cache", function=1, repetition=1)
    assert sorted(path.name for path in written) == ["figure1.png", "figure1.svg", "figure2.png", "figure2.svg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in written)
    # Three scenarios and four samplings share the clean uniform set.
    assert len(list((tmp_path / "cache").iterdir())) == 3 + 4 - 1
    words = texts((tmp_path / "out" / "figure2.svg").read_bytes())
    assert [word for word in words if word in ("uniform", "mild", "moderate", "severe")] == [
        "uniform",
        "mild",
        "moderate",
        "severe",
    ]
    assert all(path.stat().st_size < 600_000 for path in written)


def test_launcher_names_what_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    environment = os.environ | {"PYTHONPATH": str(LAUNCHER.parents[1])}
    for arguments, message in (
        ([], "--out"),
        ([f"--out={tmp_path}", "--function=-1"], "function"),
        ([f"--out={tmp_path}", f"--cache_dir={tmp_path / 'file'}"], "data set cannot be written"),
    ):
        done = subprocess.run([sys.executable, LAUNCHER, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert "Traceback" not in done.stderr
