"""A depth study as it is committed: numbers, settings and figures; no picture by itself, no checkpoint."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from regcls_jax.metrics.depth import SUMS
from regcls_jax.metrics.shots import SHOTS
from regcls_jax.report.candidates import choose_candidates
from regcls_jax.report.depth.rows import check_rmse, kept_rows
from regcls_jax.report.depth.study import COLUMNS, EVALUATION, METRICS, Depths, DepthStudy
from regcls_jax.report.trainings import exported_configs
from regcls_jax.store.files import read_json
from regcls_jax.store.rows import read_file

IMAGES, BUCKETS, COUNTS = "image_sums.csv.gz", "bucket_sums.csv.gz", "train_counts.csv"
# Of every test image and shot group, squared errors and pixels: what intervals are made of.
SUMMED = ("squared", "count")
BUCKET_COLUMNS = ["squared", "absolute", "count"]
# The figure that needs maps, which are not in the export, is taken over as it is.
MAPS = "depth_maps"


def is_depth_export(workdir: str | os.PathLike) -> bool:
    """Whether a folder is the export of a depth study."""
    return (Path(workdir) / IMAGES).exists()


def export_files(study: DepthStudy) -> dict[str, pd.DataFrame]:
    """What the report of a study needs beside rows, config.json and meta.json, by the names of files."""
    images, buckets = [], []
    for (arm, seed), sums in study.sums.items():
        for place, shot in enumerate(SHOTS):
            columns = {name: sums[:, place, SUMS.index(name)] for name in SUMMED}
            rows = {"arm": arm, "seed": seed, "image": np.arange(len(sums)), "shot": shot}
            images.append(pd.DataFrame({**rows, **columns}))
    for (arm, seed), sums in study.buckets.items():
        buckets.append(pd.DataFrame(sums, columns=BUCKET_COLUMNS).assign(arm=arm, seed=seed))
    depths = study.depths
    counts = {"low": depths.edges[:-1], "high": depths.edges[1:], "count": depths.counts, "group": depths.groups}
    return {
        IMAGES: pd.concat(images, ignore_index=True),
        BUCKETS: pd.concat(buckets)[["arm", "seed", *BUCKET_COLUMNS]],
        COUNTS: pd.DataFrame(counts),
    }


def _image_sums(part: pd.DataFrame) -> np.ndarray:
    sums = np.full((int(part["image"].max()) + 1, len(SHOTS), len(SUMS)), np.nan, np.float32)
    place = part["image"].to_numpy(), part["shot"].map(SHOTS.index).to_numpy()
    for name in SUMMED:
        sums[(*place, SUMS.index(name))] = part[name]
    return sums


def read_depth_export(workdir: str | os.PathLike) -> DepthStudy:
    """An exported study: the report of it equals that of the trainings it was made from.

    Raises:
      OSError: a file is missing, damaged, or does not belong to the others (names the file).
      ValueError: a file of rows lacks a column or has text for numbers.
    """
    workdir = Path(workdir)
    config, meta = (read_json(workdir / part) for part in ("config.json", "meta.json"))
    rows = kept_rows(read_file(workdir / "rows.csv.gz", (*COLUMNS,))[[*EVALUATION, "count", *METRICS]])
    images = read_file(workdir / IMAGES, ("seed", "image", *SUMMED))
    buckets = read_file(workdir / BUCKETS, ("seed", *BUCKET_COLUMNS))
    counts = read_file(workdir / COUNTS, ("low", "high", "count", "group"))
    sums = {
        (str(arm), int(seed)): _image_sums(part) for (arm, seed), part in images.groupby(["arm", "seed"], sort=False)
    }
    for (arm, seed), found in sums.items():
        if seed >= 0:
            check_rmse(workdir / "rows.csv.gz", rows, arm, seed, found)
    configs, chosen = choose_candidates(exported_configs(config), rows)
    return DepthStudy(
        name=config["name"],
        config=config,
        meta=meta,
        rows=rows,
        configs=configs,
        chosen=chosen,
        sums=sums,
        buckets={
            (str(arm), int(seed)): part[BUCKET_COLUMNS].to_numpy(np.float32)
            for (arm, seed), part in buckets.groupby(["arm", "seed"], sort=False)
        },
        depths=Depths(
            np.append(counts["low"], counts["high"].iloc[-1]), counts["count"].to_numpy(), counts["group"].to_numpy()
        ),
        shown=None,
        figures={path.name: path.read_bytes() for path in sorted(workdir.glob(f"{MAPS}.*"))},
        unfinished=[],
    )
