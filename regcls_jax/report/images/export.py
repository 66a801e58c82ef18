"""An image study as it is committed: numbers and settings, no image, no checkpoint."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.report.images.rows import named
from regcls_jax.report.images.study import EVALUATION, IMAGE_COLUMNS, ImageStudy, check_mae, kept_rows, target_of
from regcls_jax.report.trainings import exported_configs
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import read_file

PREDICTIONS, COUNTS, CURVES = "predictions.csv.gz", "train_counts.csv", "curves.csv.gz"


def is_export(workdir: str | os.PathLike) -> bool:
    """Whether a folder is the export of an image study."""
    return (Path(workdir) / PREDICTIONS).exists()


def export_files(study: ImageStudy) -> dict[str, pd.DataFrame]:
    """What the report of a study needs beside rows, config.json and meta.json, by the names of files.

    Test predictions, a line per image: its target, and `<arm>/seed<k>`; training images per bucket of the target;
    validation curves, if there are any.
    """
    target = study.target
    columns = {f"{arm}/seed{seed}": values for (arm, seed), values in study.found.items()}
    counts = {"low": target.edges[:-1], "high": target.edges[1:], "count": target.counts, "median": target.median}
    files = {
        PREDICTIONS: pd.DataFrame({target.name: study.values, **columns}),
        COUNTS: pd.DataFrame(counts),
    }
    if study.curves:
        curves = [curve.assign(arm=arm, seed=seed) for (arm, seed), curve in study.curves.items()]
        files[CURVES] = pd.concat(curves)[["arm", "seed", "epoch", "val_mae"]]
    return files


def _curves(path: Path) -> dict[tuple[str, int], pd.DataFrame]:
    if not path.exists():
        return {}
    curves = read_file(path, ("arm", "seed", "epoch", "val_mae"))
    runs = curves.groupby(["arm", "seed"], sort=False)
    return {(str(arm), int(seed)): part[["epoch", "val_mae"]] for (arm, seed), part in runs}


def read_export(workdir: str | os.PathLike) -> ImageStudy:
    """An exported study: the report of it equals that of the trainings it was made from.

    Raises:
      OSError: a file is missing, damaged, or does not belong to the others (names the file).
      ValueError: a file of rows lacks a column or has text for numbers.
    """
    workdir = Path(workdir)
    config, meta = (read_json(workdir / part) for part in ("config.json", "meta.json"))
    rows = kept_rows(read_file(workdir / "rows.csv.gz", IMAGE_COLUMNS)[list(IMAGE_COLUMNS)])
    if rows.duplicated(EVALUATION).any():
        raise OSError(f"{workdir / 'rows.csv.gz'} holds a row twice")
    name = named(meta)
    table = read_file(workdir / PREDICTIONS, (name["name"],))
    values = table.pop(name["name"]).to_numpy(float)
    counts = read_file(workdir / COUNTS, ("low", "high", "count", "median"))
    edges = np.append(counts["low"], counts["high"].iloc[-1])
    target = target_of(counts["count"].to_numpy(), values, edges=edges, median=counts["median"].iloc[0], **name)
    found = {}
    for column, predictions in table.items():
        arm, _, seed = str(column).rpartition("/seed")
        if arm not in config["arms"] or not seed.isdigit():
            raise OSError(f"{workdir / PREDICTIONS}: column {column!r} is of no arm of config.json")
        found[arm, int(seed)] = predictions.to_numpy(float)
        check_mae(str(workdir / "rows.csv.gz"), rows, arm, int(seed), found[arm, int(seed)] - values, target.decimals)
    return ImageStudy(
        name=config["name"],
        config=config,
        meta=meta,
        rows=rows,
        configs=exported_configs(config),
        found=found,
        curves=_curves(workdir / CURVES),
        values=values,
        target=target,
        unfinished=[],
    )
