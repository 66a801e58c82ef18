"""The README's Python runs as it stands there."""

import re

import jax
import numpy as np
from paths import ROOT


def blocks(title):
    """The Python blocks of a section."""
    section = ROOT.joinpath("README.md").read_text().split(f"## {title}")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.S)


def test_linen_and_nnx_with_the_readme_s_losses(capsys):
    linen, nnx = blocks("Use the losses in your own loop")
    names = {}
    # As users run it: only the tests forbid that ranks are promoted.
    with jax.numpy_rank_promotion("allow"):
        exec(linen, names)
        assert set(names["terms"]) == {"regression", "auxiliary"}
        assert all(np.isfinite(float(value)) for value in names["terms"].values())
        for number in range(300):
            names["params"], names["state"], terms = names["step"](
                names["params"], names["state"], jax.random.key(number)
            )
        assert terms["regression"] < names["terms"]["regression"] / 2
        exec(nnx, names)
    assert capsys.readouterr().out.count("regression") == 2


def test_the_estimator_of_the_readme():
    (code,) = blocks("Use it like scikit-learn")
    names = {}
    with jax.numpy_rank_promotion("allow"):
        exec(code, names)
    y = names["y_test"]
    assert np.abs(names["values"] - y).mean() < 0.85 * np.abs(y - np.median(names["y_train"])).mean()
    assert 0.6 < np.mean((names["low"] <= y) & (y <= names["high"])) <= 1
    assert abs(names["weights"].mean() - 1) < 1e-6
    assert np.isfinite(names["scores"]).all()
    assert names["weighted"].shape == y.shape
