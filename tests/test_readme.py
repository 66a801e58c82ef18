"""The README's Python runs as it stands there."""

import re

import jax
import numpy as np
from paths import ROOT


def blocks():
    """The Python blocks of the section on one's own loop."""
    section = ROOT.joinpath("README.md").read_text().split("## Use the losses in your own loop")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.S)


def test_linen_and_nnx_with_the_readme_s_losses(capsys):
    linen, nnx = blocks()
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
