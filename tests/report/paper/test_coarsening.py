"""When Eq. 9 stops approximating Eq. 8: against sums over SciPy's cdf, and the properties that theory.py proves."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from regcls_jax import binning, priors
from regcls_jax.report.drawing import render
from regcls_jax.report.paper import coarsening

NAME = "mixture, peak s"


@pytest.fixture(scope="module")
def frames():
    return coarsening.study()


def density(y):
    return 0.75 * stats.norm.pdf(y, 0.3, 1) + 0.25 * stats.norm.pdf(y, 0, 4)


def test_one_error_against_quadrature_and_cdfs(frames):
    """Width 2: Eq. 8 by quadrature, Eq. 9 by sums over classes, in plain NumPy."""
    means, targets = coarsening.samples()
    edges = np.arange(-32, 33, 2.0)
    prior = 0.75 * np.diff(stats.norm.cdf(edges, 0.3, 1)) + 0.25 * np.diff(stats.norm.cdf(edges, 0, 4))
    eq8, eq9 = [], []
    for m, ys in zip(means, targets, strict=True):
        evidence = integrate.quad(lambda y, m=m: stats.norm.pdf(y, m, 1) * density(y), m - 10, m + 10, points=[m])[0]
        masses = np.diff(stats.norm.cdf(edges, m, 1))
        eq8.append(np.log(density(ys)) - np.log(evidence))
        eq9.append(np.log(prior[np.digitize(ys, edges) - 1]) - np.log(masses @ prior))
    error = np.array(eq9) - np.array(eq8)
    line = frames[NAME].query("classes == 'uniform' and width == 2").iloc[0]
    assert line["count"] == 32
    assert line["rms"] == pytest.approx(np.sqrt(np.mean(np.square(eq8))), rel=1e-6)
    assert line["error"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert line["maximum"] == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert line["relative"] == pytest.approx(line["error"] / line["rms"])


def test_fine_uniform_classes_are_exact_in_the_limit_and_coarse_ones_useless(frames):
    for name, frame in frames.items():
        uniform = frame[frame["classes"] == "uniform"].set_index("width")["relative"]
        assert uniform.index.tolist() == [2.0**power for power in range(-4, 6)]
        if name.startswith("mixture"):  # first order in the width: half the width, half the error
            assert uniform[1 / 16] / uniform[1 / 8] == pytest.approx(0.5, abs=0.03)
        assert 0.9 < uniform[32] < 1.01  # Eq. 9 of two classes is nothing; the error is Eq. 8 itself


def test_a_histogram_is_exact_where_the_classes_are_its_bins(frames):
    exact = frames["histogram, peak s/4"].query("classes == 'uniform'").sort_values("width").iloc[0]
    assert exact["maximum"] < 1e-9


def test_equalised_classes_of_the_study_are_unequal_and_eq9_sees_the_imbalance(frames):
    """Width 1/16: masses and Eq. 9 by SciPy's cdf."""
    equalised = frames[NAME].query("classes == 'equalised'").set_index("width")
    assert (equalised["relative"] > 0.45).all()  # however fine: not a matter of coarseness
    assert (equalised["count"] < 2 * coarsening.REACH / equalised.index).iloc[:-1].all()

    def below(y):
        return 0.75 * stats.norm.cdf(y, 0.3, 1) + 0.25 * stats.norm.cdf(y, 0, 4)

    uniform = np.arange(-32, 32.01, 1 / 16)
    edges, _ = binning.equalize(np.round(1e9 * np.diff(below(uniform))), uniform)
    masses = np.diff(below(edges))
    line = equalised.loc[1 / 16]
    assert line["count"] == len(masses)
    assert line["smallest"] == pytest.approx(masses.min(), rel=1e-6)
    assert line["largest"] == pytest.approx(masses.max(), rel=1e-6)
    assert masses.max() == np.diff(below(uniform)).max()  # a uniform class that no merge can split
    means, targets = coarsening.samples()
    posterior = np.diff(stats.norm.cdf(edges, means[:, None], 1))
    eq9 = np.log(masses[np.digitize(targets, edges) - 1]) - np.log(posterior @ masses)[:, None]
    assert line["rms_classes"] == pytest.approx(np.sqrt(np.mean(eq9**2)), rel=1e-6)
    assert 0.85 < line["rms_classes"] / line["rms"] < 0.95


def test_eq9_is_zero_on_exactly_equal_masses():
    means, targets = coarsening.samples()
    edges = stats.norm.ppf(np.linspace(0, 1, 9), 0.5, 2)  # exactly equal masses
    edges[[0, -1]] = -32, 32
    prior = priors.mixture_prior([0.5], [4.0], [1.0])
    got = coarsening.eq9(prior, edges, means, targets, per_width=False)
    np.testing.assert_allclose(got, 0, atol=1e-6)
    assert np.abs(coarsening.eq9(prior, edges, means, targets, per_width=True)).max() > 0.5


def test_where_a_level_is_passed():
    frame = pd.DataFrame({"width": [1.0, 2.0, 4.0, 8.0], "relative": [0.01, 0.04, 0.16, 0.1]})
    assert coarsening.passes(frame, 0.08) == pytest.approx(2 * np.sqrt(2))  # halfway on logarithms
    assert coarsening.passes(frame.iloc[::-1], 0.08) == pytest.approx(2 * np.sqrt(2))
    assert coarsening.passes(frame, 0.5) == np.inf
    assert coarsening.passes(frame, 0.001) == 0


def test_table_and_figure_say_where_it_breaks(frames):
    table = coarsening.coarsening_table()
    assert len(table.frame) == 9
    line = table.frame[(table.frame["p̃"] == NAME) & (table.frame["classes"] == "uniform")].iloc[0]
    uniform = frames[NAME].query("classes == 'uniform'")
    for level in (0.1, 0.5):
        width = coarsening.passes(uniform, level)
        assert line[f"passes {100 * level:.0f} % at"] == f"{width:.2g}"
        assert uniform.query("width < @width")["relative"].max() <= level
    finest = pd.concat(frames).query("width == 1 / 16 and classes == 'equalised'")
    spread = (finest["largest"] / finest["smallest"]).agg(["min", "max"])
    share = 100 * (finest["rms_classes"] / finest["rms"]).agg(["min", "max"])
    assert f"{spread['min']:.0f} to {spread['max']:.0f} times the smallest" in table.note
    assert f"Eq. 9 is {share['min']:.0f} to {share['max']:.0f} % of that of Eq. 8" in table.note
    equalised = table.frame[(table.frame["p̃"] == NAME) & (table.frame["classes"] == "equalised")].iloc[0]
    assert equalised["RMS of Eq. 9, w = 0.0625"] == f"{finest.loc[NAME, 'rms_classes'].item():.3f}"
    assert equalised["class masses, w = 0.0625"] == "0.00068 to 0.02"
    assert line["w = 4"].startswith(f"{100 * uniform.query('width == 4')['relative'].item():.1f} %")
    first, second = (render(coarsening.coarsening_figure())["svg"] for _ in range(2))
    assert first == second
