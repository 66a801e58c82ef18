"""Whatever a config holds, `expand` lists its trainings or says in one line what is wrong: real ones, damaged."""

import copy
import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from regcls_jax.loop.tasks import expand as expand_loop
from regcls_jax.study.runs import expand as expand_study

IMAGES = ("imdb_wiki", "own_images", "utkface")
CONFIGS = {
    path.stem: importlib.import_module(f"configs.{path.stem}").get_config("runlocal").to_dict()
    for path in sorted((ROOT / "configs").glob("*.py"))
}
# Numbers are small: a study of a million trainings is no mistake, but takes its time to expand.
SCALARS = st.none() | st.booleans() | st.integers(-2, 20) | st.floats() | st.text(max_size=5) | st.just("reg")
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 2), inner, max_size=2)
    ),
    max_leaves=4,
)
# Fields that no config of the repository sets in every place.
FIELDS = ("lam", "classes", "reweight", "lds", "low", "boundaries", "hidden", "init_from", "task", "source", "budget")


def places(node, path=()):
    """Every place in a config: its sections and their fields, values in tuples, and new fields."""
    if isinstance(node, dict):
        yield from ((*path, field) for field in FIELDS if field not in node)
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, tuple) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def damaged(node, path, value):
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(node, tuple):
        return tuple(damaged(each, rest, value) if number == first else each for number, each in enumerate(node))
    return {**node, first: damaged(node.get(first, {}), rest, value)}


@st.composite
def configs(draw):
    stem = draw(st.sampled_from(sorted(CONFIGS)))
    config = copy.deepcopy(CONFIGS[stem])
    for _ in range(draw(st.integers(1, 2))):
        config = damaged(config, draw(st.sampled_from(list(places(config)))), draw(VALUES))
    return stem, config


@settings(max_examples=600, deadline=None, derandomize=True)
@given(configs())
def test_a_damaged_config_expands_or_is_one_line(example):
    stem, config = example
    expand = expand_loop if stem in IMAGES else expand_study
    try:
        said = str(expand(config))
    except ValueError as error:
        said = str(error)
    assert said
    assert "\n" not in said


@pytest.mark.parametrize("expand", [expand_loop, expand_study])
@pytest.mark.parametrize("config", [None, 3, "reg", [], ["arms"], {1: 2}, {"arms": None}, {"arms": {"reg": 3}}])
def test_what_is_no_config_at_all(expand, config):
    with pytest.raises(ValueError, match=r"^(a config|config key arms|unknown config key|config key arms.reg) ?.*$"):
        expand(config)


@pytest.mark.parametrize("expand", [expand_loop, expand_study])
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".reg", "/tmp/reg", "a/b", "a\\b", " reg", "reg ", "a\nb", "a|b", "a" * 101, 3, None, ("a",)],
)
def test_a_name_is_not_a_path(expand, name):
    with pytest.raises(ValueError, match=r"^an arm cannot be called .*letters, digits"):
        expand({"arms": {name: {}}, "seeds": (0,)} if expand is expand_loop else {"arms": {name: {}}})
    with pytest.raises(ValueError, match=r"^a study cannot be called .*letters, digits"):
        expand({"name": name, "arms": {"reg": {}}})


@pytest.mark.parametrize("name", ["reg", "reg_cls-2.0", "+lds", "two words", "µ_λ", "7", "a..b"])
def test_names_that_folders_may_have(name):
    assert {run.arm for run in expand_loop({"name": name, "arms": {name: {}}, "seeds": (0,)})} == {name}
