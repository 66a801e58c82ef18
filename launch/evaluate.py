"""Tests a trained image network: a run's checkpoint, or PyTorch weights under a config. Table and figures.

python launch/evaluate.py --run=runs/utkface/reg/seed0 [--checkpoint=newest] [--split=val]
python launch/evaluate.py --config=configs/imdb_wiki.py:reg --weights=ckpt.best.pth.tar --figures=runs/published
"""

from pathlib import Path

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

RUN = define_path("run", None, "Folder of a run: <workdir>/<arm>/seed<k>.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "newest"], "Which checkpoint of the run.")
CONFIG = cli.define_config("With --weights: a config of one arm.")
WEIGHTS = define_path("weights", None, "PyTorch weights (.pth, .tar, .safetensors) in place of a run.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "val", "test"], "What to test on.")
FIGURES = define_path("figures", None, "Folder of the figures; by default <run>/report.")
DATA_DIR = define_path("data_dir", cli.PREPARED_DIR, "Folder that launch/prepare.py wrote to.")
PLATFORM = cli.define_platform()


def main() -> None:
    if (RUN.value is None) == (WEIGHTS.value is None) or (WEIGHTS.value is None) != (CONFIG.value is None):
        raise ValueError("give either --run, or --weights and --config")

    import numpy as np

    from regcls_jax import devices
    from regcls_jax.data.images.decoding import decode_rgb
    from regcls_jax.loop.evaluate import evaluate_run
    from regcls_jax.loop.tasks import every_field, expand, read_run, task_of
    from regcls_jax.report.images.figures import save_run_figures
    from regcls_jax.report.images.study import target_of
    from regcls_jax.report.tables import markdown

    source = Path(RUN.value or WEIGHTS.value)
    if RUN.value:
        run = read_run(source)
    else:
        runs = expand(CONFIG.read(every_field()))
        if len(arms := {run.arm: None for run in runs}) != 1:
            raise ValueError(f"--config must be of one arm, configs/<name>.py:<arm>; it has {', '.join(arms)}")
        run = runs[0]
    print(devices.start(PLATFORM.value, cpu_devices=1), flush=True)
    data = task_of(run).load(run.dataset, DATA_DIR.value)
    rows, predictions = evaluate_run(run, data, SPLIT.value, source, CHECKPOINT.value)
    metrics = rows.columns[list(rows.columns).index("shot") :].drop("n")
    print(markdown(rows[["arm", *metrics]].round(3)))
    make_arrays = task_of(run).arrays
    if make_arrays is None or predictions is None:
        return  # the figures are of single numbers
    folder = Path(FIGURES.value) if FIGURES.value else (source if RUN.value else source.parent) / "report"
    split = data.splits[SPLIT.value]
    arrays = make_arrays(run, data, {SPLIT.value: predictions})
    save_run_figures(
        folder,
        arm=run.arm,
        values=split.targets,
        predictions=predictions,
        target=target_of(
            arrays["train_counts"],
            split.targets,
            edges=arrays["bucket_edges"],
            median=float(arrays["train_median"]),
            name=data.target,
            unit=data.unit,
        ),
        decode=lambda indices: np.stack([decode_rgb(split.images[int(i)], run.image_size) for i in indices]),
    )
    print(f"Figures: {folder}")


if __name__ == "__main__":
    cli.run(main)
