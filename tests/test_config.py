"""From the sections of a config to settings: variants, keys, values in turn, budgets (tests of `expand` say more)."""

import subprocess
import sys

import pytest

from regcls_jax import config


def test_an_unknown_variant_is_named_with_its_file():
    config.check_variant("/somewhere/configs/fig9.py", "quick", ("full", "quick"))
    with pytest.raises(ValueError, match="unknown variant 'fast' of configs/fig9.py; one of full, quick"):
        config.check_variant("/somewhere/configs/fig9.py", "fast", ("full", "quick"))


def test_values_in_turn():
    assert config.values("lam", 1.0, ("hidden",)) == (1.0,)
    assert config.values("lam", [1.0, 2.0], ("hidden",)) == (1.0, 2.0)
    assert config.values("hidden", (6, 15), ("hidden",)) == ((6, 15),)
    assert config.values("hidden", ((6, 15), [4]), ("hidden",)) == ((6, 15), (4,))
    with pytest.raises(ValueError, match="hidden must be a tuple"):
        config.values("hidden", 6, ("hidden",))


def test_combinations_vary_the_last_field_fastest():
    found = list(config.combinations({"a": (1, 2), "b": (3, 4)}))
    assert found == [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]


def test_a_config_file_is_read_without_jax():
    code = "import sys; from configs import utkface, diabetes; diabetes.get_config(); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
