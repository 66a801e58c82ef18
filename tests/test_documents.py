"""Every command and every piece of Python in README and docs/ works as it stands there, long ones in their small form.

Commands that are merely named (in docstrings of configs and programs, in notebooks, in a sentence) are parsed: program,
flags, config, variant and changed fields. Those in bash blocks are run, in the order of the pages and in a folder that
has the data they speak of: see helpers/sandbox.py.
"""

import collections
import configparser
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import sandbox
from documents import PAGES, PLACES, blocks, named, relative, typed
from ml_collections import ConfigDict
from paths import ROOT

from regcls_jax import config_file
from regcls_jax.study.runs import expand

# What is neither Python nor ours, and what is checked of it elsewhere.
OTHERS = {"podman", "pytest"}
# What a block of Python takes for granted.
GIVEN = {"docs/guides/studies.md": lambda: {"config": ConfigDict(config_file.load(f"{ROOT}/configs/fig3.py:runlocal"))}}


@pytest.fixture(scope="module", autouse=True)
def as_users_run_it():
    """Only the tests forbid that ranks are promoted."""
    with jax.numpy_rank_promotion("allow"):
        yield


def every_command():
    """Program -> {its arguments: where they are named first}."""
    found = collections.defaultdict(dict)
    for path in PLACES:
        for program, *arguments in named(path):
            found[program].setdefault(tuple(arguments), relative(path))
    for path in PAGES:
        for words in typed(path):
            if words[0] == "python":
                found[words[1]].setdefault(tuple(words[2:]), relative(path))
    return found


COMMANDS = every_command()


def test_commands_are_found():
    assert {path.name for path in (ROOT / "launch").glob("*.py")} <= {program.split("/")[1] for program in COMMANDS}
    assert sum(map(len, COMMANDS.values())) > 120
    assert ("--config=configs/fig3.py:quick", "--workdir=runs/fig3-quick") in COMMANDS["launch/study.py"]


def errors_of(commands):
    """What is wrong with the commands of each program, "" for nothing."""
    parser = [sys.executable, ROOT / "tests" / "helpers" / "parse_commands.py"]
    parsed = subprocess.run(parser, input=json.dumps(commands), capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr[-2000:]
    return json.loads(parsed.stdout.splitlines()[-1])


def test_named_commands_have_known_programs_flags_and_configs():
    for program, commands in COMMANDS.items():
        assert (ROOT / program).is_file(), f"{program} is named in {sorted(set(commands.values()))}"
    found = errors_of({program: [*commands] for program, commands in COMMANDS.items()})
    wrong = [
        (place, program, *arguments, error)
        for program, commands in COMMANDS.items()
        for (arguments, place), error in zip(commands.items(), found[program], strict=True)
        if error
    ]
    assert wrong == []


def test_a_stale_flag_config_variant_or_field_is_found():
    runlocal = "--config=configs/fig3.py:runlocal"
    given = {
        "--nothing=1": [runlocal, "--nothing=1"],
        "none.py does not exist": ["--config=configs/none.py"],
        "variant 'none'": ["--config=configs/fig3.py:none"],
        "key run.'nothing'": [runlocal, "--config.run.nothing=1"],
        "": [runlocal, "--config.run.epochs=2"],
    }
    found = errors_of({"launch/study.py": [["--workdir=w", *arguments] for arguments in given.values()]})
    for part, error in zip(given, found["launch/study.py"], strict=True):
        assert part.strip("-=1") in error
    assert error == ""


def test_bash_blocks_run_and_those_without_their_data_say_so(tmp_path_factory):
    box = sandbox.make(tmp_path_factory.mktemp("sandbox"))
    for path in PAGES:
        for words in typed(path):
            if words[0] == "python":
                box.run(words[1:], relative(path))
    assert len(box.ended_well) > 8
    assert box.passed_over <= {words[0] for words in box.ended_well}


@pytest.mark.parametrize(("command", "file"), sandbox.ELSEWHERE.items(), ids=str)
def test_what_is_run_elsewhere_is(command, file):
    program, part = command
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert program.split("/")[1] in text
    assert part in text


def test_other_commands_are_known():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    for path in PAGES:
        for words in typed(path):
            if words[:3] == ["pip", "install", "-e"]:
                assert words[3] == "." or words[3][2:-1] in extras, (relative(path), words)
            elif words[0] != "python":
                assert words[0] in OTHERS, (relative(path), words)


PYTHON = [path for path in PAGES if blocks(path, "python")]
assert PYTHON


@pytest.fixture(scope="module")
def executed():
    """Executes the Python of a page, its blocks one after the other; returns the names of each block, once a page."""
    done = {}

    def execute(path):
        if path not in done:
            names, after = GIVEN.get(relative(path), dict)(), []
            for block in blocks(path, "python"):
                exec(compile(block, relative(path), "exec"), names)
                after.append(dict(names))
            done[path] = after
        return done[path]

    return execute


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_python_blocks_run(path, executed):
    assert executed(path)


def test_the_losses_guide_learns_with_linen_and_nnx(executed):
    names, with_nnx = executed(ROOT / "docs" / "guides" / "losses.md")
    assert set(names["terms"]) == {"regression", "auxiliary"}
    params, state, first = names["params"], names["state"], names["terms"]
    assert all(np.isfinite(float(value)) for value in first.values())
    for number in range(300):
        params, state, terms = names["step"](params, state, jax.random.key(number))
    assert terms["regression"] < first["regression"] / 2
    terms = with_nnx["step"](with_nnx["model"], with_nnx["optimizer"], jax.random.key(2))
    assert np.isfinite(float(terms["regression"]))


def test_the_first_screen_s_loop_learns(executed):
    losses, estimator = executed(ROOT / "README.md")
    assert losses["terms"]["regression"] < np.var(losses["y"])
    assert estimator["low"].shape == estimator["y"].shape


def test_the_estimator_guide(executed):
    (names,) = executed(ROOT / "docs" / "guides" / "estimator.md")
    y = names["y_test"]
    assert np.abs(names["values"] - y).mean() < 0.85 * np.abs(y - np.median(names["y_train"])).mean()
    assert 0.6 < np.mean((names["low"] <= y) & (y <= names["high"])) <= 1
    assert abs(names["weights"].mean() - 1) < 1e-6
    assert np.isfinite(names["scores"]).all()
    assert names["weighted"].shape == y.shape


def test_the_changed_config_of_the_studies_guide_is_one(executed):
    (names,) = executed(ROOT / "docs" / "guides" / "studies.md")
    arms = {run.arm for run in expand(names["config"].to_dict())}
    assert arms == {"reg", "reg_cls_bal", "huber"}


def test_the_readme_is_one_screen_of_links_that_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
