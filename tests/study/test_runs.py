"""The list of runs that a config asks for."""

from collections import Counter

import pytest
from study_config import small

from configs import fig3
from regcls_jax.study.runs import expand


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
        ({"arms": {"reg": {"balanced": True}}}, "balanced True needs classes >= 2"),
        ({"run": {"weight_decay": -1.0}}, "weight_decay must not be negative"),
        ({"run": {"epochs": -1}}, "epochs must be an integer of at least 0"),
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
        ({"run": {"hidden": 6}}, "hidden must be a tuple"),
        ({"run": {"hidden": (6.5,)}}, "a width in hidden must be an integer"),
        ({"run": {"batch_size": 256.0}}, "batch_size must be an integer"),
        ({"chunk": -1}, "chunk must be an integer of at least 0"),
        ({"budget": -1}, "budget must be an integer of at least 0"),
        ({"budget": 2.0}, "budget must be an integer"),
        ({"budget": 2}, "arm 'reg' has 1 combinations, fewer than the budget of 2"),
        ({"budget": 1, "arms": {"reg": {"lam": (1.0, 2.0, 1)}}}, "arm 'reg': lam lists a value twice"),
    ],
)
def test_bad_configs_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        expand(small(**changes))


GRID = {"learning_rate": (1e-4, 1e-3, 1e-2), "weight_decay": (0.0, 1e-3), "lam": (1.0, 10.0, 100.0), "scale": (1, 2)}
ARMS = {"reg": GRID, "reg_cls": {**GRID, "classes": (4, 16)}, "bal": {**GRID, "classes": (4, 16), "balanced": True}}


def drawn(budget, **sections):
    """The settings drawn, in order, by (data set, arm)."""
    found = {}
    for run in expand(small(arms=ARMS, budget=budget, **sections)):
        settings = run.learning_rate, run.weight_decay, run.lam, run.scale, run.classes
        found.setdefault((run.data, run.arm), []).append(settings)
    return found


def test_a_budget_draws_as_many_different_settings_of_every_arm_on_every_data_set():
    some, every = drawn(7), drawn(0)
    assert some.keys() == every.keys()
    assert len(some) == 4 * 3
    for key, settings in some.items():
        assert len(set(settings)) == 7
        assert set(settings) <= set(every[key])
    # Not one draw for all data sets or arms, or the outcome would be about that draw.
    assert len({frozenset(settings) for settings in some.values()}) == len(some)


def test_a_draw_depends_on_its_data_set_arm_and_values_alone():
    seven, whole = drawn(7), drawn(36)
    assert all(whole[key][:7] == settings for key, settings in seven.items())
    assert all(len(set(settings)) == 36 for (_, arm), settings in whole.items() if arm == "reg")  # all there are
    assert drawn(7, data={"samplings": ("severe", "uniform"), "functions": 2}).items() >= seven.items()
    turned = {arm: dict(reversed(values.items())) for arm, values in ARMS.items()}
    assert expand(small(arms=turned, budget=7)) == expand(small(arms=ARMS, budget=7))


def test_every_setting_is_drawn_equally_often():
    counts = Counter(
        setting
        for (_, arm), settings in drawn(6, data={"functions": 100}).items()
        for setting in settings
        if arm == "reg"
    )
    # 400 data sets x 6 of 36 settings: each 66.7 times, standard deviation 7.5.
    assert len(counts) == 36
    assert all(abs(count - 400 / 6) < 4 * 7.5 for count in counts.values())


def test_draws_stay_the_same_from_version_to_version():
    # Ours, 2026-11: a study continues with the settings it was begun with.
    first = next(settings for (_, arm), settings in drawn(3).items() if arm == "reg_cls")
    assert first == [(0.0001, 0.001, 10.0, 2, 4), (0.001, 0.0, 100.0, 1, 4), (0.001, 0.0, 1.0, 2, 16)]


def test_a_huge_product_is_not_listed():
    many = tuple(float(value) for value in range(1, 201))
    config = small(budget=3) | {"arms": {"reg": dict.fromkeys(("lam", "scale", "learning_rate", "momentum"), many)}}
    assert len(expand(config)) == 4 * 3  # of 1.6e9 each
