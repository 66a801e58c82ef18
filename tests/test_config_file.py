"""The file that --config names and the fields that the command line sets, up to what the two engines make of them."""

import re

import pytest
from absl import flags
from paths import ROOT

from regcls_jax import cli, config_file
from regcls_jax.loop.tasks import every_field
from regcls_jax.loop.tasks import expand as expand_loop
from regcls_jax.store.files import read_json
from regcls_jax.store.workdir import share_workdir
from regcls_jax.study.runs import ARM_FIELDS
from regcls_jax.study.runs import expand as expand_study

STUDY, IMAGES = ROOT / "configs" / "diabetes.py", ROOT / "configs" / "utkface.py"


def read(file, *arguments):
    """The config of `runlocal` with the arguments of a command line."""
    flag = cli.ConfigFlag("", None)
    assert flag.take_changes(["program", *arguments]) == ["program"]
    flag.value = f"{file}:runlocal"
    return flag.read(ARM_FIELDS if file == STUDY else every_field())


def runs(file, *arguments):
    return (expand_study if file == STUDY else expand_loop)(read(file, *arguments))


@pytest.mark.parametrize("file", [STUDY, IMAGES], ids=["study", "images"])
@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--config.run.lam=.5"], "lam", 0.5),
        (["--config.run.lds_sigma=1"], "lds_sigma", 1.0),
        (["--config.run.lds_sigma", "1"], "lds_sigma", 1.0),
        (["-config.run.reweight=sqrt_inv"], "reweight", "sqrt_inv"),
        (["--config.run.lds", "--config.run.reweight=inverse"], "lds", True),
        (["--noconfig.run.balanced"], "balanced", False),
        (["--config.run.low=-3", "--config.run.high", "90"], "low", -3.0),
        (["--config.run.low", "-.5"], "low", -0.5),
        (["--config.run.low=none"], "low", None),
        (["--config.run.boundaries=(1,)", "--config.run.schedule=constant"], "boundaries", (1,)),
        (["--config.run.boundaries=1", "--config.run.schedule=constant"], "boundaries", (1,)),
        (["--config.run.components=3"], "components", 3),
    ],
)
def test_any_field_of_a_run_can_be_set_whether_or_not_the_file_lists_it(file, arguments, field, value):
    found = [run for run in runs(file, *arguments) if run.arm == "reg"]
    assert found
    assert all((getattr(run, field), type(getattr(run, field))) == (value, type(value)) for run in found)


def test_what_a_study_can_be_given():
    assert {run.hidden for run in runs(STUDY, "--config.run.hidden=(8,8)")} == {(8, 8)}
    assert {run.hidden for run in runs(STUDY, "--config.run.hidden=((8,8),(4,))")} == {(8, 8), (4,)}
    assert {run.lam for run in runs(STUDY, "--config.arms.reg.lam=(1,10)") if run.arm == "reg"} == {1.0, 10.0}
    several = [run.optimizer for run in runs(STUDY, '--config.arms.reg.optimizer=("adam","sgd")') if run.arm == "reg"]
    assert set(several) == {"adam", "sgd"}
    assert {run.data.folds for run in runs(STUDY, "--config.data.folds=3")} == {3}
    assert len(runs(STUDY, "--config.budget=1", "--config.arms.reg_cls.classes=8")) == 8
    assert {run.seed for run in runs(IMAGES, "--config.seeds=4")} == {4}
    assert {run.seed for run in runs(IMAGES, "--config.seeds=(4, 5)")} == {4, 5}


@pytest.mark.parametrize("file", [STUDY, IMAGES], ids=["study", "images"])
def test_config_json_holds_what_the_file_lists_and_what_was_set_and_no_more(file, tmp_path):
    share_workdir(tmp_path / "plain", read(file))
    share_workdir(tmp_path / "set", read(file, "--config.arms.reg.lds_sigma=3", "--config.run.epochs=7"))
    expected = read_json(tmp_path / "plain" / "config.json")
    expected["arms"]["reg"]["lds_sigma"], expected["run"]["epochs"] = 3.0, 7
    assert read_json(tmp_path / "set" / "config.json") == expected


@pytest.mark.parametrize("file", [STUDY, IMAGES], ids=["study", "images"])
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.run.lamda=1", "unknown config key run.'lamda'; did you mean lam?"),
        ("--config.arms.reg.lds_sigm=1", "unknown config key arms.reg.'lds_sigm'; did you mean lds_sigma"),
        ("--config.arms.rag.lam=1", "unknown config key arms.'rag'; did you mean reg"),
        ("--config.bogus=1", "unknown config key 'bogus'; known: name, "),
        ("--config.run.epochs=1.5", "--config.run.epochs must be an integer, got '1.5'"),
        ("--config.run.lam=much", "--config.run.lam must be a number, got 'much'"),
        ("--config.run.lds=maybe", "--config.run.lds must be true or false, got 'maybe'"),
        ("--config.run.low=deep", "--config.run.low must be a number or None, got 'deep'"),
        ("--config.run.boundaries=(1", "--config.run.boundaries: '(1' cannot be read; write several values as"),
        ("--config.run.lam", "--config.run.lam needs a value"),
        ("--config.arms.reg=3", "config key arms.reg must be a section"),
        ("--config.run=reg", "config key run must be a section"),
        ("--config.name=a/b", "a study cannot be called 'a/b'"),
        ("--config.arms.reg.lam.x=3", "unknown config key arms.reg.'lam.x'; did you mean lam?"),
        ("--config.run.epochs.x=3", "config key run.epochs must be a section"),
        ("--config.run..lam=3", "unknown config key run.''"),
    ],
)
def test_a_wrong_field_or_value_is_one_line(file, argument, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}.*$"):
        runs(file, argument)


def test_the_other_arguments_are_left_as_they_are():
    flag = cli.ConfigFlag("", None)
    given = ["program", "--config=a.py", "--workdir", "w", "--config.run.lds", "--devices=2", "--", "--config.x=1"]
    assert flag.take_changes(given) == [
        "program",
        "--config=a.py",
        "--workdir",
        "w",
        "--devices=2",
        "--",
        "--config.x=1",
    ]
    assert flag.changes == {"run.lds": None}
    with pytest.raises(flags.Error, match=r"--config\.run\.lds is given twice"):
        flag.take_changes(["program", "--config.run.lds=true"])


def test_an_arm_with_dots_in_its_name():
    config = {"arms": {"reg": {}, "reg_0.5": {}, "reg_0": {}}}
    changed = config_file.change(config, {"arms.reg_0.5.lam": ".5", "arms.reg.lam": "2"}, ARM_FIELDS)
    assert changed["arms"] == {"reg": {"lam": 2.0}, "reg_0.5": {"lam": 0.5}, "reg_0": {}}
    assert config["arms"]["reg"] == {}, "the config of the file is left alone"


HEAD = "from ml_collections import ConfigDict, config_dict\ndef get_config({}):\n    {}\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def get_config(:\n    pass", r"{f}, line 1: SyntaxError: invalid syntax"),
        ("import no_such_module", r"{f}, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("from math import no_such_thing", r"{f}, line 1: ImportError: cannot import name 'no_such_thing'.*"),
        ("\nx = y", r"{f}, line 2: NameError: name 'y' is not defined"),
        (HEAD.format("", "return {}['reg']"), r"{f}, line 3: KeyError: 'reg'"),
        (HEAD.format("", "return ConfigDict().run"), r"{f}, line 3: AttributeError: .*"),
        (HEAD.format("", "return int('two\\nlines')"), r"{f}, line 3: ValueError: .*"),
        (HEAD.format("", "return [][1]"), r"{f}, line 3: IndexError: list index out of range"),
        (HEAD.format("", "return 1 / 0"), r"{f}, line 3: ZeroDivisionError: division by zero"),
        (HEAD.format("", "return get_config()"), r"{f}, line 3: RecursionError: .*"),
        (HEAD.format("", "return None"), r"{f}: get_config\(\) returns no ConfigDict but None"),
        (HEAD.format("", "return [1]"), r"{f}: get_config\(\) returns no ConfigDict but \[1\]"),
        (HEAD.format("size", "return {}"), r"{f}: TypeError: get_config\(\) missing 1 required .*"),
        (
            HEAD.format("", "return {'arms': config_dict.ConfigDict({'a': config_dict.required_placeholder(int)})}"),
            ".*",
        ),
        ("x = 1", r"{f}: it has no function get_config\(\) that returns the config"),
        ("get_config = 3", r"{f}: it has no function get_config\(\) that returns the config"),
        ("\0", r"{f}.*: .*"),
    ],
)
def test_a_file_that_fails_is_one_line_with_file_and_line(tmp_path, source, message):
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(ValueError, match="^config file ") as error:
        config_file.load(str(file))
    said = " ".join(str(error.value).split())  # as the programs print it
    assert re.fullmatch(f"config file {message.format(f=re.escape(str(file)))}", said)


def test_a_file_that_is_none(tmp_path):
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(ValueError, match=f"^config file {path} does not exist; --config is <path>.py"):
            config_file.load(f"{path}:quick")
    (tmp_path / "mine.py").write_text("def get_config():\n    return {}\n")
    with pytest.raises(ValueError, match=r"mine.py: TypeError: get_config\(\) takes 0 positional arguments"):
        config_file.load(f"{tmp_path}/mine.py:quick")


def test_dictionaries_are_as_good_as_config_dicts(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n    return {'run': ConfigDict({'lam': 2.0}), 'arms': {'reg': {}}, 'seeds': [1]}\n"
    )
    config = config_file.load(f"{tmp_path}/mine.py")
    assert config == {"run": {"lam": 2.0}, "arms": {"reg": {}}, "seeds": [1]}
    assert type(config["run"]) is dict
    assert [run.lam for run in expand_loop(config)] == [2.0]
