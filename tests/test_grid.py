"""The list of runs that a config asks for."""

import pytest
from study_config import small

from configs import fig3
from regcls_jax.training.grid import expand


def test_fig3_asks_for_every_training_of_the_paper_and_its_controls():
    runs = expand(fig3.get_config().to_dict())
    assert len({run.data for run in runs}) == 600
    assert len(runs) == 600 * 9
    by_arm = {arm: [run for run in runs if run.arm == arm] for arm in {run.arm for run in runs}}
    assert {arm: len(members) for arm, members in by_arm.items()} == {
        "reg": 600,
        "reg_x_lambda": 600,
        "reg_no_decay": 600,
        "reg_cls": 3000,
        "reg_cls_no_decay": 600,
    }
    published = {"clean": (1e2, 1e-3), "noisy": (1e3, 1e-2), "ood": (1e4, 1e-4)}
    for run in runs:
        lam, learning_rate = published[run.data.scenario]
        assert run.learning_rate == learning_rate
        assert run.lam == (1.0 if run.arm in ("reg", "reg_no_decay") else lam)
        assert run.weight_decay == (0.0 if run.arm.endswith("no_decay") else 1e-3)
        assert run.seed == (0, 421, 8125, 2481, 849)[run.data.repetition]
        assert (run.hidden, run.batch_size, run.epochs, run.decay) == ((6, 15), 256, 80, "coupled")
        assert run.initial_weights == "separate"


@pytest.mark.parametrize("variant", ["quick", "paired", "runlocal"])
def test_small_variants_are_part_of_the_full_grid(variant):
    full = {(run.arm, run.data, run.classes) for run in expand(fig3.get_config().to_dict())}
    assert {(run.arm, run.data, run.classes) for run in expand(fig3.get_config(variant).to_dict())} <= full


def test_tuples_are_choices_but_one_hidden_layout_is_one_choice():
    runs = expand(small(arms={"reg": {"lam": (1.0, 2.0), "learning_rate": (1e-3, 1e-2), "hidden": (4, 5)}}))
    mine = [run for run in runs if run.arm == "reg" and run.data == runs[0].data]
    assert [(run.lam, run.learning_rate) for run in mine] == [(1.0, 1e-3), (1.0, 1e-2), (2.0, 1e-3), (2.0, 1e-2)]
    assert {run.hidden for run in mine} == {(4, 5)}
    assert {run.hidden for run in expand(small(run={"hidden": ((4,), (6, 15))}))} == {(4,), (6, 15)}


def test_noise_levels_multiply_the_noisy_scenario_only():
    data = {"scenarios": ("clean", "noisy"), "noise": (0.05, 0.5)}
    specs = {run.data for run in expand(small(data=data))}
    assert sum(spec.scenario == "noisy" for spec in specs) == 2 * sum(spec.scenario == "clean" for spec in specs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {"epoch": 3}}, "unknown config key run.'epoch'"),
        ({"run": {"seed": 3}}, "unknown config key run.'seed'"),
        ({"data": {"function": 3}}, "unknown config key data.'function'"),
        ({"arms": {"reg": {"lambda": 3.0}}}, "unknown config key arms.reg.'lambda'"),
        ({"scenario": {"clear": {}}}, "unknown config key scenario.'clear'"),
        ({"typo": 1}, "unknown config key 'typo'"),
        ({"arms": {"reg": {"lam": 0.0}}}, "arm 'reg': lam must be positive, got 0.0"),
        ({"arms": {"reg": {"lam": -1.0}}}, "lam must be positive"),
        ({"arms": {"reg": {"lam": float("nan")}}}, "lam must be positive"),
        ({"arms": {"reg_cls": {"classes": 1}}}, "classes must be 0 .* or at least 2"),
        ({"arms": {"reg": {"balanced": True}}}, "balanced classes need classes"),
        ({"run": {"weight_decay": -1.0}}, "weight_decay must not be negative"),
        ({"run": {"epochs": 0}}, "epochs must be an integer of at least 1"),
        ({"run": {"hidden": (6, 0)}}, "a width in hidden must be an integer of at least 1"),
        ({"run": {"regression": "cubed"}}, "unknown regression 'cubed'"),
        ({"run": {"optimizer": "lion"}}, "unknown optimizer 'lion'; one of adam, sgd"),
        ({"run": {"initial_weights": "same"}}, "unknown initial_weights 'same'"),
        ({"data": {"functions": 0}}, "data.functions must be an integer of at least 1"),
        ({"data": {"functions": 2.0}}, "data.functions must be an integer"),
        ({"data": {"noise": 0.1}}, "data.noise must be a tuple, got 0.1"),
        ({"data": {"scenarios": "clean"}}, "data.scenarios must be a tuple"),
        ({"data": {"scenarios": ()}}, "asks for no training"),
        ({"arms": {"reg_cls": {"classes": 4.5}}}, "classes must be an integer"),
        ({"arms": {"reg_cls": {"classes": "4"}}}, "classes must be an integer"),
        ({"arms": {"reg_cls": {"classes": (4, 4)}}}, "arm 'reg_cls' asks for the same training twice"),
        ({"arms": {"reg_cls": {"classes": 4, "balanced": "False"}}}, "balanced must be True or False"),
        ({"arms": {"constant": {}}}, "cannot be called 'constant'"),
        ({"arms": {"reg": {"lam": None}}}, "lam must be a number, got None"),
        ({"run": {"hidden": ()}}, "hidden must list the widths"),
        ({"run": {"hidden": 6}}, "hidden must list layer widths"),
        ({"run": {"hidden": (6.5,)}}, "a width in hidden must be an integer"),
        ({"run": {"batch_size": 256.0}}, "batch_size must be an integer"),
        ({"chunk": -1}, "chunk must be an integer of at least 0"),
    ],
)
def test_bad_configs_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        expand(small(**changes))
