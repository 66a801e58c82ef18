"""What every study of the loop's trainings has on disk, whatever the task: configs, result rows, times."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.loop.tasks import DEFAULT, task_named
from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import AGAIN, read_file

TRIVIAL_SEED = -1
# Of `reg` as the published code and as the paper's text has it; any other regression loss is a baseline's.
PLAIN_LOSSES = ("absolute_error", "squared_error")
# What the head for classes or memberships consists of: arms that differ in nothing else show what it does.
AUXILIARY_SETTINGS = {"auxiliary", *(name for loss in AUXILIARY.values() for name in loss.hyperparameters)}
HEAD = {"classes", "balanced", "rounding", "low", "high", "lam", "scale", *AUXILIARY_SETTINGS}
# What only says that soft memberships are regressed instead of classes classified.
TARGETS = {"lam", "scale", *AUXILIARY_SETTINGS}
NO_SETTING = {"arm", "seed", "workers", "candidate_for"}  # names, and what changes no number


class Trainings(NamedTuple):
    """The finished trainings of a folder.

    dataset: what all were trained on.
    runs: folder of each (arm, seed), arms in the order of `arm_order`.
    configs: the whole settings of each arm.
    unfinished: the trainings that are still to be done, <arm>/seed<k>.
    """

    dataset: str
    runs: dict[tuple[str, int], Path]
    configs: dict[str, dict[str, Any]]
    unfinished: list[str]

    @property
    def shared_config(self) -> dict[str, Any]:
        """See the function of that name."""
        return shared_config(self.dataset, self.configs, sorted({seed for _, seed in self.runs}))


def has_trainings(workdir: str | os.PathLike) -> bool:
    """Whether a folder holds trainings as <arm>/seed<k> and is not itself a study of small networks."""
    workdir = Path(workdir)
    return not (workdir / "config.json").exists() and any(workdir.glob("*/seed*/config.json"))


def with_defaults(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a run, whole: one of an earlier version may lack a setting, which had its default.

    ValueError, naming `where`, for an unknown task.
    """
    kind = task_named(settings.get("task", DEFAULT), where).run
    defaults = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in ("arm", "seed")}
    return {**defaults, **settings}


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = with_defaults(read_json(path), str(path))
    if missing := [name for name in ("arm", "seed") if name not in config]:
        raise OSError(f"{path} lacks {', '.join(missing)}")
    if folder != folder.parents[1] / config["arm"] / f"seed{config['seed']}":
        raise OSError(f"{path} is of arm {config['arm']!r}, seed {config['seed']}: the folder was renamed or copied")
    return config


def exported_configs(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The whole settings of each arm of an exported config; ValueError for an arm of an unknown task."""
    return {
        arm: with_defaults({**config["run"], **own, "arm": arm}, f"arm {arm!r}") for arm, own in config["arms"].items()
    }


def find_trainings(workdir: str | os.PathLike) -> Trainings:
    """All trainings of a folder, `workdir`/<arm>/seed<k>; one without rows.csv.gz is not finished.

    A seed that another arm has and an arm has not counts as unfinished as well.

    Raises:
      OSError: a config is damaged or not of its folder (names the file), or the runs are of several data sets.
      ValueError: no training is finished.
    """
    workdir = Path(workdir)
    started = {path.parent: _config(path.parent) for path in sorted(workdir.glob("*/seed*/config.json"))}
    finished = {folder: config for folder, config in started.items() if (folder / "rows.csv.gz").exists()}
    finished = dict(sorted(finished.items(), key=lambda item: (arm_order(item[1]), item[1]["seed"])))
    if not finished:
        raise ValueError(f"{workdir}: none of the {len(started)} trainings is finished; run launch/train.py again")
    if len(sets := {config["dataset"] for config in finished.values()}) > 1:
        raise OSError(f"{workdir} holds runs on {' and '.join(sorted(sets))}; a report is of one data set")
    (dataset,) = sets
    runs = {(config["arm"], config["seed"]): folder for folder, config in finished.items()}
    arms, seeds = dict.fromkeys(config["arm"] for config in started.values()), {c["seed"] for c in started.values()}
    return Trainings(
        dataset=dataset,
        runs=runs,
        configs={config["arm"]: config for config in finished.values()},
        unfinished=[f"{arm}/seed{seed}" for arm in arms for seed in sorted(seeds) if (arm, seed) not in runs],
    )


def read_rows(
    trainings: Trainings, columns: Sequence[str], evaluation: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """The rows of all trainings, those of the trivial predictors once.

    Args:
      trainings: of a folder.
      columns: what every file must have.
      evaluation: those that name a row; `selected_on` is "val" where a file, of a run that selects once, lacks it.
      metrics: those in which all runs must agree about the trivial predictors.

    Returns:
      A frame with the columns evaluation, count and metrics.

    Raises:
      OSError: a file is damaged, holds a row twice or rows of another run, or the runs disagree (names the file).
      ValueError: a file lacks a column, or has text for numbers.
    """
    rows = pd.concat([_rows(path, run, columns, evaluation) for run, path in trainings.runs.items()], ignore_index=True)
    rows = rows[[*evaluation, "count", *metrics]]
    trivial = rows[rows["seed"] == TRIVIAL_SEED].groupby(list(evaluation))[list(metrics)]
    low, high = trivial.min(), trivial.max()
    differs = ~np.isclose(low, high, rtol=1e-5, atol=0.0, equal_nan=True).all(axis=1)
    if differs.any():
        where = next(iter(trainings.runs.values())).parents[1]
        raise OSError(f"{where}: the runs disagree about the predictor {low.index[differs][0][0]}")
    return rows.drop_duplicates(list(evaluation))


def _rows(folder: Path, run: tuple[str, int], columns: Sequence[str], evaluation: Sequence[str]) -> pd.DataFrame:
    path, (arm, seed) = folder / "rows.csv.gz", run
    rows = read_file(path, columns, AGAIN)
    if "selected_on" in evaluation and "selected_on" not in rows:
        rows["selected_on"] = "val"
    if rows.duplicated(list(evaluation)).any():
        raise OSError(f"{path} holds a row twice")
    own = rows[rows["seed"] != TRIVIAL_SEED]
    if set(own["arm"]) != {arm} or set(own["seed"]) != {seed}:
        raise OSError(f"{path} is not of arm {arm!r}, seed {seed}")
    return rows


def check_shared(arrays: Mapping[Path, Mapping[str, np.ndarray]], own: Iterable[str]) -> None:
    """Checks that the predictions.npz of all runs agree in every array that is not a run's `own`.

    Raises OSError, naming file and array: the runs were tested on other examples.
    """
    first, expected = next(iter(arrays.items()))
    for folder, found in arrays.items():
        for name in {*expected, *found} - {*own}:
            if not (name in found and name in expected and _same(found[name], expected[name])):
                raise OSError(f"{folder / 'predictions.npz'}: {name} differs from that of {first}")


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return np.array_equal(left, right, equal_nan=left.dtype.kind == right.dtype.kind == "f")


def _distinct(metas: Mapping[Any, Mapping[str, Any]], key: str) -> list[Any]:
    """The different values of a key of meta.json among the runs, in order."""
    found: list[Any] = []
    for meta in metas.values():
        if key in meta and meta[key] not in found:
            found.append(meta[key])
    return found


def study_meta(runs: Mapping[tuple[str, int], Path]) -> dict[str, Any]:
    """What the page tells of trainings, from their meta.json: how, and the seconds of each arm over all its seeds."""
    metas = {run: read_json(folder / "meta.json") for run, folder in runs.items()}
    found: dict[str, Any] = {"command": "\n".join(_distinct(metas, "command")), "trainings": len(metas)}
    found["seconds"] = round(sum(meta.get("seconds", 0.0) for meta in metas.values()), 3)
    found["machine"] = "; ".join(_distinct(metas, "machine"))
    versions = _distinct(metas, "versions")
    found["versions"] = versions[0] if len(versions) == 1 else versions
    found |= {key: values[0] for key in ("target", "unit") if (values := _distinct(metas, key))}
    found["arms"] = {}
    for arm in dict.fromkeys(arm for arm, _ in metas):
        of_arm = {seed: meta for (name, seed), meta in metas.items() if name == arm}
        found["arms"][arm] = {
            "seeds": len(of_arm),
            "seconds": round(sum(each.get("seconds", 0.0) for each in of_arm.values()), 3),
            "best_epoch": {str(seed): each.get("best_epoch") for seed, each in of_arm.items()},
        }
    return found


def unfinished_remark(workdir: str | os.PathLike, unfinished: Sequence[str], allowed: bool) -> str:
    """What a report says of trainings that are still to be done; ValueError, naming them, unless that is `allowed`."""
    if not unfinished:
        return "All trainings that were started are finished."
    remark = f"{len(unfinished)} trainings are still to be done: {', '.join(unfinished)}"
    if not allowed:
        raise ValueError(f"{Path(workdir)}: {remark}; run launch/train.py again, or report with --unfinished")
    return f"**Unfinished: {remark}.**"


def arm_order(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key that arms are sorted by: reg, with classes, the controls, then baselines and balanced data."""
    plain = (config["reweight"], config["fds"], config["trainable"]) == ("none", "none", "all")
    return (
        config["balanced_data"],
        not (plain and config["regression"] in PLAIN_LOSSES),
        config["output"] != "target",
        config["regression"] != "absolute_error",
        config["auxiliary"] != "classification",
        config["balanced"],
        config["classes"],
        config["arm"],
    )


def shared_config(name: str, configs: Mapping[str, Mapping[str, Any]], seeds: list[int]) -> dict[str, Any]:
    """The settings as a config file gives them: what all arms share once, and what each arm sets."""
    own = {
        arm: {key: value for key, value in config.items() if key not in ("arm", "seed")}
        for arm, config in configs.items()
    }
    first = next(iter(own.values()))
    shared = {key: value for key, value in first.items() if all(config[key] == value for config in own.values())}
    arms = {arm: {key: value for key, value in config.items() if key not in shared} for arm, config in own.items()}
    return {"name": name, "seeds": seeds, "run": shared, "arms": arms}


def control_of(arm: str, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The arms that differ from an arm with an auxiliary head in that head alone, by what the comparison asks.

    "no head" trains the same without one, "memberships" regresses soft memberships instead of classifying; the first
    of several.
    """
    own = configs[arm]
    found: dict[str, str] = {}
    for name, other in configs.items():
        differs = {key for key, value in own.items() if other.get(key) != value} - NO_SETTING
        if name == arm or not own["classes"]:
            continue
        if not other["classes"] and differs <= HEAD:
            found.setdefault("no head", name)
        if own["auxiliary"] == "classification" and other["auxiliary"] != own["auxiliary"] and differs <= TARGETS:
            found.setdefault("memberships", name)
    return found


def judged_arm(configs: Mapping[str, Mapping[str, Any]], validation: pd.Series) -> str:
    """The arm that a verdict is about: of those with classes, else all but reg, that of the lowest `validation` error.

    The first of these where none has a finite one.
    """
    classes = [arm for arm, config in configs.items() if config["classes"]]
    among = classes or [arm for arm in configs if arm != "reg"] or list(configs)
    known = validation.reindex(among).dropna()
    return str(known.idxmin()) if len(known) else among[0]


def judged_baselines(arm: str, configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What an arm is judged against, as far as it is there: reg, and the same training without the auxiliary head."""
    control = control_of(arm, configs).get("no head", "reg")
    return [name for name in dict.fromkeys(("reg", control)) if name in configs and name != arm]
