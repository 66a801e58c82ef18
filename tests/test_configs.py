"""Every config under configs/: its variants load and expand, small ones are part of the full study."""

import dataclasses
import importlib.util
import re

import pytest
from paths import ROOT

from regcls_jax.loop.tasks import expand as expand_loop
from regcls_jax.report.studies import REPORTS
from regcls_jax.study.runs import expand

CONFIGS = sorted((ROOT / "configs").glob("*.py"))
IMAGES = [path for path in CONFIGS if path.stem in ("agedb", "imdb_wiki", "own_images", "utkface")]
DEPTHS = [path for path in CONFIGS if path.stem in ("nyud2", "nyu_small")]
# configs/own.py and remedies.py have their data from launch/advise.py: tests/test_advice.py.
FILES = [path for path in CONFIGS if path not in (*IMAGES, *DEPTHS) and path.stem not in ("own", "remedies")]
# Not of the paper: no report of their own, and splits that depend on how often they are repeated.
GENERIC = ("diabetes",)
# The full grid of configs/capacity.py, 2.5 million runs, is not expanded; tests/test_capacity.py counts and checks it.
# Small variants of configs/tab5.py have folds of their own, those of configs/sts_b_dir.py fewer arms, and those of
# configs/remedies_1d.py a smaller budget.
OWN_SMALL = ("capacity", "tab5", "sts_b_dir", "remedies_1d")
EXPANDED = [path for path in FILES if path.stem not in (*OWN_SMALL, *GENERIC)]


def load(path):
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(module):
    """The variants that the message about an unknown one lists."""
    with pytest.raises(ValueError, match="unknown variant 'no such'") as error:
        module.get_config("no such")
    return re.search(r"one of (.*)$", str(error.value)).group(1).split(", ")


def runs(module, variant):
    return expand(module.get_config(variant).to_dict())


def command(path, variant):
    """What the docstring has to show of a variant."""
    return f"configs/{path.name}" + ("" if variant == "full" else f":{variant}") + " "


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_and_all_its_variants(path):
    module = load(path)
    names = variants(module)
    assert {"full", "quick", "runlocal"} <= set(names)
    assert module.get_config() == module.get_config("full")
    for name in names:
        config = module.get_config(name)
        assert config.name == path.stem
        assert config.name in REPORTS or path.stem in GENERIC
        assert command(path, name) in module.__doc__
    assert len(runs(module, "runlocal")) <= 50


@pytest.mark.parametrize("path", EXPANDED, ids=lambda path: path.stem)
def test_small_variants_are_part_of_the_full_study(path):
    module = load(path)
    full = runs(module, "full")
    assert len(set(full)) == len(full)
    for name in ("quick", "runlocal"):
        small = runs(module, name)
        assert len(small) < len(full) / 5
        # A small study trains some of the runs of the full one; `runlocal` shorter.
        assert {dataclasses.replace(run, epochs=80) for run in small} < set(full)
        assert {run.arm for run in small} == {run.arm for run in full}
    assert {run.epochs for run in runs(module, "quick")} == {80}


def test_the_studies_have_the_size_of_the_paper():
    configs = {path.stem: load(path) for path in FILES}
    lambdas, classes, samplings = 8, 5, 4
    lam_sets = 10 * 3 * 2 * samplings  # functions, repetitions, scenarios
    table1, fig4 = runs(configs["tab1"], "full"), runs(configs["fig4"], "full")
    assert len(table1) == lam_sets * (1 + 1 + lambdas + 2 * lambdas * classes)
    assert len(fig4) == lam_sets * (1 + 1 + lambdas + lambdas * classes)
    assert set(fig4) < set(table1)  # so one study serves both reports
    assert len(runs(configs["fig5"], "full")) == 10 * 5 * 3 * samplings * (3 + 2 * classes)
    cell = [r for r in table1 if (r.arm, r.data.scenario, r.data.sampling) == ("reg_cls_bal", "clean", "mild")]
    assert len(cell) == 1200  # what the percentages of Table 1 are whole numbers of
    assert all(r.balanced for r in cell)


def test_only_what_an_arm_is_for_differs_from_reg():
    for run in runs(load(FILES[0].with_name("tab1.py")), "full"):
        assert run.learning_rate == {"clean": 1e-3, "noisy": 1e-2}[run.data.scenario]
        assert run.weight_decay == (0.0 if run.arm == "reg_no_decay" else 1e-3)
        assert run.balanced == (run.arm == "reg_cls_bal")
        assert (run.lam == 1.0) or run.arm in ("reg_x_lambda", "reg_cls", "reg_cls_bal")


def test_table_5_as_the_paper_and_the_released_code_have_it():
    module = load(FILES[0].with_name("tab5.py"))
    for variant, lam in (("full", 100.0), ("absolute", 10.0)):
        found = runs(module, variant)
        assert len(found) == len(set(found)) == 10 * 4 * 3 * 10  # tasks, folds, seeds, arms
        of_arm = {run.arm: run for run in found}
        assert {name for name, run in of_arm.items() if run.lam == lam} == {
            *("reg_x_lambda", "reg_cls", "reg_cls_bal", "reg_cls_mean")
        }
        assert {name for name, run in of_arm.items() if run.classes} == {
            *("reg_cls", "reg_cls_bal", "reg_cls_published", "reg_cls_mean")
        }
        assert {(run.hidden, run.batch_size, run.weight_decay) for run in found} == {((40, 20), 40, 1e-4)}
        assert {run.epochs for run in found if run.arm != "random"} == {40}
        assert (of_arm["random"].epochs, of_arm["random"].activation) == (0, "sigmoid")
        released = of_arm["reg_cls_published"]
        assert (released.lam, released.learning_rate, released.activation) == (1e-3, 1e-4, "sigmoid")
        assert {run.reduction for run in found if not run.arm.endswith("_mean")} == {"sum"}
    assert {run.arm for run in runs(module, "quick")} == set(of_arm)


def image_runs(module, variant):
    return expand_loop(module.get_config(variant).to_dict())


def arms(module):
    """One run of every arm of an image config, by name."""
    return {run.arm: run for run in image_runs(module, "full") if run.seed == 0}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_an_image_config_and_all_its_variants(path):
    module = load(path)
    full = image_runs(module, "full")
    names = list(dict.fromkeys(run.arm for run in full))
    further = ["remedies"] if path.stem == "utkface" else []
    assert sorted(variants(module)) == sorted(["full", "quick", "runlocal", *further, *names])
    assert module.get_config() == module.get_config("full")
    assert {(run.arm, run.seed) for run in full} == {(name, seed) for name in names for seed in (0, 1, 2)}
    for name in ("full", "quick", "runlocal", *names):
        assert module.get_config(name).name == path.stem
        assert {run.dataset for run in image_runs(module, name)} == {full[0].dataset}
    for name in ("full", "quick", "runlocal"):
        assert command(path, name) in module.__doc__
    for name in names:
        # One arm by its name is that arm of the whole study.
        assert set(image_runs(module, name)) == {run for run in full if run.arm == name}
    shown = set(re.findall(rf"{path.name}:(\w+)", module.__doc__))
    assert shown <= set(variants(module))
    small = image_runs(module, "runlocal")
    assert {(run.depth, run.width, run.image_size, run.epochs, run.workers, run.seed) for run in small} == {
        (18, 8, 32, 2, 0, 0)
    }
    for variant in ("quick", "runlocal"):
        few = image_runs(module, variant)
        assert len(few) <= 3
        assert {run.arm for run in few} < set(names)
        assert max(run.epochs for run in few) < full[0].epochs


def test_the_methods_of_table_3_and_4_are_the_published_ones():
    found = arms(load(ROOT / "configs" / "imdb_wiki.py"))
    # The published "reg + cls / lambda": lambda .1 for 100 classes and 1 for 2 and 10 (recipes 4.3-3, 5.1).
    for classes, lam in ((2, 1.0), (10, 1.0), (100, 0.1)):
        for name, balanced in ((f"reg_cls_{classes}", False), (f"reg_cls_bal_{classes}", True)):
            run = found[name]
            assert (run.classes, run.balanced, run.rounding) == (classes, balanced, "round")
            assert run.scale * run.lam == pytest.approx(1.0)
            assert run.scale == pytest.approx(1 / lam)
    for name in ("balanced_data_reg", "balanced_data_reg_cls"):  # Table 4
        assert (found[name].balanced_data, found[name].learning_rate, found[name].batch_size) == (100, 1e-4, 128)
    both = found["balanced_data_reg_cls"]
    assert (both.classes, both.balanced, both.lam, both.scale) == (100, True, 0.1, 10.0)
    assert found["reg_mse"].regression == "squared_error"
    assert found["reg_upstream"] == dataclasses.replace(found["reg"], arm="reg_upstream", batch_size=256, select="mae")
    for name in ("focal", "inverse", "sqrt_inv", "lds", "fds", "fds_corrected", "lds_fds", "lds_fds_corrected", "rrt"):
        assert (found[name].batch_size, found[name].select, found[name].epochs) == (256, "mae", 90)
        assert found[name].reweight == {"focal": "none", "inverse": "inverse"}.get(name, "sqrt_inv")
        assert found[name].lds == ("lds" in name)
        assert found[name].fds == ("none" if "fds" not in name else "corrected" if "corrected" in name else "published")
    assert (found["inverse"].clip_low, found["inverse"].clip_high) == (5.0, 1000.0)
    for name in ("gai", "bmc", "bni"):
        run = found[name]
        assert run.regression == name
        assert (run.epochs, run.boundaries, run.learning_rate, run.batch_size) == (10, (), 1e-4, 256)
        assert (run.noise_sigma, run.noise_learning_rate, run.select) == (10.0, 0.01, "bmae")
    for name, run in found.items():
        heads = name in ("rrt", "gai", "bmc", "bni")
        assert (run.init_from, run.trainable) == (("reg_upstream", "value_head") if heads else ("", "all"))
        assert (run.depth, run.width, run.image_size, run.weight_decay) == (50, 64, 224, 0.0)


def test_the_remedies_on_utkface_weigh_their_losses_as_published():
    found = {}
    for run in image_runs(load(ROOT / "configs" / "utkface.py"), "remedies"):
        found.setdefault(run.candidate_for or run.arm, []).append(run)
    assert {name: len(runs) // 3 for name, runs in found.items() if len(runs) > 3} == {
        "reg_cls_100_lambda": 3,
        "rank_n_contrast": 2,
    }
    (conr, *_), (ranksim, *_) = found["conr"], found["ranksim"]
    assert (conr.scale * conr.lam, conr.scale, conr.conr_distance) == (1.0, 8.0, 1.0)  # recipes 2.6: beta 4, twice
    assert (ranksim.scale * ranksim.lam, ranksim.ranksim_gamma, ranksim.ranksim_strength) == (1.0, 100.0, 2.0)
    assert {found[name][0].decoded for name in ("hl_gauss", "corn")} == {"expectation"}
    assert found["uvote"][0].output == "standardised"


def test_the_arms_on_utkface_differ_in_what_they_ask_alone():
    found = arms(load(ROOT / "configs" / "utkface.py"))
    plain = found.pop("reg")
    task = {"classes": 100, "lam": 0.1, "scale": 10.0}
    differ = {
        "reg_cls_100": task,
        "reg_cls_bal_100": {**task, "balanced": True},
        "lds": {"reweight": "sqrt_inv", "lds": True},
        "reg_std": {"output": "standardised"},
        "reg_cls_100_std": {**task, "output": "standardised"},
        "reg_member_100": {**task, "auxiliary": "membership"},
    }
    assert found == {arm: dataclasses.replace(plain, arm=arm, **settings) for arm, settings in differ.items()}


def test_nothing_of_ones_own_images_is_in_years():
    """Classes and buckets have the range of the training targets, and errors are trained without a unit."""
    found = arms(load(ROOT / "configs" / "own_images.py"))
    for run in found.values():
        assert (run.task, run.output, run.loss_in) == ("scalar", "standardised", "std")
        assert (run.low, run.high, run.bucket_low, run.bucket_high) == (None,) * 4
    plain = found.pop("reg")
    classes = {"classes": 100, "lam": 1.0}
    differ = {
        "reg_cls_100": classes,
        "reg_cls_bal_100": {**classes, "balanced": True},
        "lds": {"reweight": "sqrt_inv", "lds": True},
    }
    assert found == {arm: dataclasses.replace(plain, arm=arm, **settings) for arm, settings in differ.items()}


@pytest.mark.parametrize("path", DEPTHS, ids=lambda path: path.stem)
def test_a_depth_config_and_all_its_variants(path):
    module = load(path)
    full = image_runs(module, "full")
    names = list(dict.fromkeys(run.candidate_for or run.arm for run in full))
    more = ["published"] if path.stem == "nyud2" else []
    assert sorted(variants(module)) == sorted(["full", "quick", "runlocal", *more, *names])
    assert module.get_config() == module.get_config("full")
    for name in variants(module):
        assert module.get_config(name).name == path.stem
        assert {(run.task, run.dataset) for run in image_runs(module, name)} == {("depth", path.stem)}
    for name in ("full", "quick", "runlocal", *more):
        assert command(path, name) in module.__doc__
    for name in names:
        of_arm = {run for run in full if name in (run.arm, run.candidate_for)}
        assert set(image_runs(module, name)) == of_arm
    for variant in ("quick", "runlocal"):
        few = image_runs(module, variant)
        assert len(few) <= 3
        assert max(run.epochs for run in few) < full[0].epochs
    assert {(run.layers, run.workers, run.seed) for run in image_runs(module, "runlocal")} == {(18, 0, 0)}


def test_the_methods_of_table_2_and_4_are_the_published_ones():
    found = arms(load(ROOT / "configs" / "nyud2.py"))
    for classes, lam in ((2, 0.1), (10, 0.1), (100, 1.0)):  # recipes 5.3
        for name, balanced in ((f"reg_cls_{classes}", False), (f"reg_cls_bal_{classes}", True)):
            run = found[name]
            assert (run.classes, run.balanced, run.rounding) == (classes, balanced, "round")
            assert (run.lam, run.scale) == (lam, pytest.approx(1 / lam))
            assert (run.batch_size, run.accumulate, run.epochs) == (32, 2, 5)
    for name in ("balanced_data_reg", "balanced_data_reg_cls"):
        assert (found[name].balanced_data, found[name].batch_size, found[name].accumulate) == (100, 32, 4)
    assert (found["balanced_data_reg_cls"].classes, found["balanced_data_reg_cls"].balanced) == (100, True)
    for name in ("lds", "lds_fds", "lds_fds_corrected"):
        assert (found[name].reweight, found[name].lds, found[name].lds_size, found[name].lds_sigma) == (
            *("inverse", True, 5, 2.0),
        )
    assert {name: found[name].fds for name in ("fds", "lds_fds", "fds_corrected")} == {
        **{"fds": "published_depth", "lds_fds": "published_depth", "fds_corrected": "corrected"},
    }
    for name in ("gai", "bni"):
        run = found[name]
        assert (run.regression, run.noise_sigma, run.noise_learning_rate, run.least_depth) == (name, 1.0, 0.0, 0.7)
    assert (found["gai"].components, found["gai"].mixture_per) == (16, 1_000_000)
    for run in found.values():
        assert (run.low, run.high, run.buckets, run.bucket_start, run.lds_boundary) == (0.0, 10.0, 100, 7, "reflect")
        assert (run.learning_rate, run.weight_decay, run.counts) == (1e-4, 1e-4, "published")
        assert (run.image_height, run.image_width, run.layers, run.width) == (228, 304, 50, 64)
        assert (run.select, run.also_select, run.fds_clip_low, run.fds_clip_high) == ("rmse", "test", 0.2, 5.0)


def test_every_class_arm_of_the_small_study_has_three_lambdas_to_choose_from():
    runs = image_runs(load(ROOT / "configs" / "nyu_small.py"), "full")
    assert len(runs) == 2 * (3 + 3 * 3)
    for name in ("reg_cls_10", "reg_cls_100", "reg_cls_bal_10"):
        candidates = [run for run in runs if run.candidate_for == name]
        assert len({run.lam for run in candidates}) == 3
        assert {run.seed for run in candidates} == {0, 1}
        assert {dataclasses.replace(run, arm="", lam=1.0, seed=0) for run in candidates} == {
            dataclasses.replace(candidates[0], arm="", lam=1.0, seed=0)
        }
