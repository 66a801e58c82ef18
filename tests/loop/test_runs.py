"""Image configs: what they expand to, every mistake one message with arm and field, and no key without a reader."""

import dataclasses
import re

import pytest
from paths import ROOT

from regcls_jax.loop.age import AgeRun, first_fds_year
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.tasks import TASKS, arm_fields, expand
from regcls_jax.losses.registry import HYPERPARAMETERS

CHOICES = {f.name: f.metadata["known"] for f in dataclasses.fields(AgeRun) if "known" in f.metadata}
INTEGERS = [f.name for f in dataclasses.fields(AgeRun) if f.type is int and f.name not in CHOICES]
FLOATS = [f.name for f in dataclasses.fields(AgeRun) if f.type is float]
BOOLS = [f.name for f in dataclasses.fields(AgeRun) if f.type is bool]


def config(arms=None, run=None, seeds=(0, 1)):
    return {"name": "ages", "run": run or {}, "arms": {"reg": {}} if arms is None else arms, "seeds": seeds}


def test_the_defaults_are_the_published_recipe():
    run = AgeRun(arm="reg", seed=0)
    # Recipes 5.1.
    assert (run.depth, run.width, run.image_size, run.padding, run.flip) == (50, 64, 224, 16, True)
    assert (run.regression, run.output, run.classes, run.lam, run.scale) == ("absolute_error", "target", 0, 1.0, 1.0)
    assert (run.optimizer, run.learning_rate, run.weight_decay) == ("adam", 1e-3, 0.0)
    assert (run.batch_size, run.epochs, run.boundaries, run.select) == (128, 90, (60, 80), "mse")
    assert (run.low, run.high, run.rounding) == (0.0, 100.0, "round")
    # Recipes 2.1 to 2.4 and 5.2.
    assert (run.focal_beta, run.focal_gamma) == (0.2, 1.0)
    assert (run.noise_sigma, run.noise_learning_rate, run.components) == (10.0, 0.01, 8)
    assert (run.buckets, run.lds_kernel, run.lds_size, run.lds_sigma, run.fds_buckets) == (121, "gaussian", 5, 2.0, 100)


def test_every_arm_is_trained_with_every_seed_on_the_settings_of_arm_before_run():
    arms = {"reg": {}, "reg_cls": {"classes": 10, "epochs": 3}}
    runs = expand(config(arms, {"epochs": 7, "width": 8, "boundaries": [2, 3]}))
    assert [(run.arm, run.seed, run.epochs, run.classes) for run in runs] == [
        ("reg", 0, 7, 0),
        ("reg", 1, 7, 0),
        ("reg_cls", 0, 3, 10),
        ("reg_cls", 1, 3, 10),
    ]
    assert {(run.width, run.boundaries) for run in runs} == {(8, (2, 3))}
    assert len(set(runs)) == 4


def test_arms_that_start_from_another_one_come_last():
    arms = {
        "rrt": {"init_from": "reg", "trainable": "value_head"},
        "pretrained": {"init_from": "resnet50.pth"},
        "reg": {},
    }
    assert [run.arm for run in expand(config(arms, seeds=(5,)))] == ["pretrained", "reg", "rrt"]
    # Alone it is trained, too: what it starts from may be in the folder already.
    assert [run.arm for run in expand(config({"rrt": arms["rrt"]}, seeds=(5,)))] == ["rrt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typo": 1}, "unknown config key 'typo'; known: name, run, arms, seeds"),
        ({"run": {"lambda": 3.0}}, r"unknown config key run.'lambda'; did you mean lam\?"),
        ({"seeds": 3}, r"config key seeds must be a tuple, such as \(0, 1, 2\), got 3"),
        ({"run": {"seed": 3}}, "unknown config key run.'seed'"),
        ({"arms": {"reg": {"arm": "x"}}}, "unknown config key arms.reg.'arm'"),
        ({"arms": {"median": {}}}, "an arm cannot be called 'median': that is a trivial predictor"),
        ({"arms": {"report": {}}}, "an arm cannot be called 'report': <workdir>/report is the folder"),
        ({"arms": {}}, "asks for no training"),
        ({"seeds": ()}, "asks for no training"),
        ({"seeds": (0, 1, 0)}, "arm 'reg' asks for the same training twice"),
        ({"seeds": (0.5,)}, "arm 'reg': seed must be an integer of at least 0, not 0.5"),
        ({"arms": {"reg": {"boundaries": 60}}}, "arm 'reg': boundaries must be a tuple of epochs, got 60"),
    ],
)
def test_bad_configs_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        expand(config() | changes)


def test_arms_follow_those_they_start_from_however_many():
    arms = {"third": {"init_from": "second"}, "second": {"init_from": "first"}, "first": {}}
    assert [run.arm for run in expand(config(arms, seeds=(5,)))] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"reg": "reg"}, "arm 'reg': init_from goes round in a circle: reg from reg"),
        ({"a": "b", "b": "c", "c": "b"}, "arm 'a': init_from goes round in a circle: a from b from c from b"),
        (
            {"a": "weights.onnx"},
            "arm 'a': init_from 'weights.onnx' is neither one of the arms (a) nor a file of",
        ),
        ({"a": "/runs/reg"}, "arm 'a': init_from '/runs/reg' is neither"),
        ({"a": "b", "b": "../reg"}, "arm 'b': init_from '../reg' is neither"),
    ],
)
def test_a_start_that_cannot_be(starts, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        expand(config({arm: {"init_from": start} for arm, start in starts.items()}))


def test_every_arm_has_the_fields_of_its_task():
    own = {"task": "scalar", "dataset": "houses"}
    runs = expand(config({"reg": {}, "years": {"task": "age", "fds_start": 3}}, own, seeds=(0,)))
    assert runs == [
        ImageRun(arm="reg", seed=0, dataset="houses"),
        AgeRun(arm="years", seed=0, dataset="houses", fds_start=3),
    ]
    # Of any target the range follows from the data.
    assert (runs[0].low, runs[0].high, runs[0].bucket_low, runs[0].bucket_high) == (None,) * 4
    with pytest.raises(ValueError, match=r"unknown config key run\.'fds_start'"):
        expand(config(run={**own, "fds_start": 3}))
    with pytest.raises(ValueError, match="unknown task 'video'; one of age, scalar"):
        expand(config(run={"task": "video"}))


def test_a_missing_section_is_an_empty_one():
    assert expand({"arms": {"reg": {}}, "seeds": (2,)}) == [AgeRun(arm="reg", seed=2)]
    for section in ("arms", "seeds"):
        with pytest.raises(ValueError, match="asks for no training"):
            expand({name: values for name, values in config().items() if name != section})


def bad(field, value, **settings):
    """The error of a run with one bad field."""
    with pytest.raises(ValueError, match="^arm 'mine': ") as error:
        AgeRun(**{"arm": "mine", "seed": 0, **settings, field: value})
    return str(error.value)


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("value", [-2, 1.5, "4", True, None])
def test_whole_numbers(field, value):
    assert re.fullmatch(rf"arm 'mine': {field} must be an integer of at least -?\d, not {value!r}", bad(field, value))


@pytest.mark.parametrize("field", FLOATS)
@pytest.mark.parametrize("value", [None, "1", True])
def test_numbers(field, value):
    assert bad(field, value) == f"arm 'mine': {field} must be a number, got {value!r}"


@pytest.mark.parametrize("field", FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(field, value):
    message = bad(field, value)
    assert f"{field} " in message
    assert str(value) in message


@pytest.mark.parametrize("field", BOOLS)
def test_bools(field):
    assert bad(field, "False", classes=4) == f"arm 'mine': {field} must be True or False, got 'False'"


@pytest.mark.parametrize("field", CHOICES)
def test_choices(field):
    message = bad(field, "neither")
    assert message.startswith(f"arm 'mine': unknown {field} 'neither'; one of ")
    assert message.endswith(", ".join(map(str, CHOICES[field])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam": 0.0}, "lam must be positive, got 0.0 (for plain regression set classes = 0)"),
        ({"scale": -1.0}, "scale must be positive, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"noise_sigma": 0.0}, "noise_sigma must be positive, got 0.0"),
        ({"weight_decay": -1e-3}, "weight_decay must not be negative, got -0.001"),
        ({"focal_gamma": -1.0}, "focal_gamma must not be negative, got -1.0"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, not 0"),
        ({"batch_size": 1}, "batch_size must be an integer of at least 2, not 1"),
        ({"reduction": "sum", "accumulate": 2}, "reduction 'sum' is over a batch, which accumulate 2 divides"),
        ({"classes": 1}, "classes must be 0 (plain regression) or at least 2, got 1"),
        ({"balanced_data": 1}, "balanced_data must be 0 (none) or at least 2, got 1"),
        ({"balanced": True}, "balanced True needs classes >= 2"),
        ({"auxiliary": "membership"}, "auxiliary 'membership' needs classes >= 2"),
        ({"lds_size": 4}, "lds_size must be odd, got 4"),
        ({"lds": True}, "lds has no effect without re-weighting; set reweight, too"),
        ({"clip_low": 5.0, "reweight": "inverse"}, "clip_low 5.0 is above clip_high 0.0"),
        ({"trainable": "value_head"}, "trainable 'value_head' needs init_from, the weights of the frozen features"),
        (
            {"trainable": "value_head", "init_from": "reg", "fds": "corrected"},
            "an auxiliary loss and fds shape the features, which trainable 'value_head' freezes",
        ),
        (
            {"trainable": "value_head", "init_from": "reg", "classes": 4},
            "an auxiliary loss and fds shape the features, which trainable 'value_head' freezes",
        ),
        ({"batch_size": 6, "accumulate": 4}, "batch_size 6 is not a multiple of accumulate 4"),
        ({"batch_size": 6, "views": 4}, "batch_size 6 is not a multiple of views 4"),
        ({"auxiliary": "conr", "accumulate": 2}, "auxiliary 'conr' compares a whole batch; set accumulate to 1"),
        ({"select": "last", "also_select": "test"}, "also_select chooses by a metric, and select is 'last'"),
        ({"auxiliary": "uvote"}, "auxiliary 'uvote' needs weights; set reweight, too"),
        ({"decoded": "head"}, "decoded 'head' reads a head that auxiliary has: uvote, evidential"),
        ({"boundaries": (0,)}, "an epoch in boundaries must be an integer of at least 1, not 0"),
        ({"boundaries": (2.5,)}, "an epoch in boundaries must be an integer of at least 1, not 2.5"),
        ({"low": 100.0}, "low 100.0 is not below high 100.0"),
        ({"loss_in": "std"}, "loss_in 'std' needs output 'standardised' and a regression loss without a prior"),
        (
            {"loss_in": "std", "output": "standardised", "regression": "gai"},
            "loss_in 'std' needs output 'standardised' and a regression loss without a prior",
        ),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=re.escape(f"arm 'mine': {message}") + "$"):
        AgeRun(arm="mine", seed=0, **settings)


def test_no_key_of_a_config_is_dead():
    package = ROOT / "regcls_jax"
    sources = [path for path in package.rglob("*.py") if path.name not in ("runs.py", "method.py")]
    sources = "\n".join(path.read_text() for path in sources if not {"report", "study"} & set(path.parts))
    read = set(re.findall(r"\b(?:run|method)\.(\w+)", sources))
    fields = {field for task in TASKS.values() for field in arm_fields(task)}
    # Hyperparameters of losses are read by the name that the registry gives them.
    assert fields - set(HYPERPARAMETERS) - read - {"regression"} == set()
    assert "no_such_field" not in read


def test_feature_smoothing_starts_where_it_was_published_for_the_data_set():
    runs = [AgeRun(arm="a", seed=0, dataset=name) for name in ("imdb_wiki_dir", "agedb_dir", "mine")]
    assert [first_fds_year(run) for run in runs] == [0, 3, 0]
    assert first_fds_year(AgeRun(arm="a", seed=0, dataset="agedb_dir", fds_start=0)) == 0


def test_an_arm_that_lists_several_values_is_trained_with_each():
    config = {"arms": {"reg": {}, "cls": {"classes": 4, "lam": (0.5, 2), "boundaries": (3, 5)}}, "seeds": (0,)}
    runs = {run.arm: run for run in expand(config)}
    assert list(runs) == ["reg", "cls_lam_0.5", "cls_lam_2"]
    assert [(run.lam, run.candidate_for, run.boundaries) for run in runs.values()][1:] == [
        (0.5, "cls", (3, 5)),
        (2, "cls", (3, 5)),
    ]
    assert runs["reg"].candidate_for == ""
    with pytest.raises(ValueError, match="lam lists no value to try"):
        expand({**config, "arms": {"cls": {"lam": ()}}})
    with pytest.raises(ValueError, match="arm 'a': candidate_for 'reg' is the name of an arm; choose another"):
        expand({**config, "arms": {"reg": {}, "a": {"candidate_for": "reg"}}})
