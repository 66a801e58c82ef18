"""Tests a trained network: a run's checkpoint, or PyTorch weights under a config. Table and figures.

python launch/evaluate.py --run=runs/utkface/reg/seed0 [--checkpoint=newest] [--split=val]
python launch/evaluate.py --config=configs/imdb_wiki.py:reg --weights=ckpt.best.pth.tar --figures=runs/published
python launch/evaluate.py --run=runs/nyu_small/reg/seed0 --images=other_rooms --scale=0.001    # images/ and depths/
"""

import dataclasses
from pathlib import Path

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

RUN = define_path("run", None, "Folder of a run: <workdir>/<arm>/seed<k>.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "also_best", "newest"], "Which checkpoint of the run.")
CONFIG = cli.define_config("With --weights: a config of one arm.")
WEIGHTS = define_path("weights", None, "PyTorch weights (.pth, .tar, .safetensors) in place of a run.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "val", "test"], "What to test on.")
IMAGES = define_path("images", None, "In place of --split: a folder or archive of examples of another data set.")
SCALE = flags.DEFINE_string("scale", "", "With --images: metres per unit of the depth maps, such as 0.001 or 1/25.5.")
FIGURES = define_path("figures", None, "Folder of the figures; by default <run>/report.")
DATA_DIR = define_path("data_dir", cli.PREPARED_DIR, "Folder that launch/prepare.py wrote to.")
PLATFORM = cli.define_platform()


def main() -> None:
    if (RUN.value is None) == (WEIGHTS.value is None) or (WEIGHTS.value is None) != (CONFIG.value is None):
        raise ValueError("give either --run, or --weights and --config")

    from regcls_jax import devices
    from regcls_jax.loop.evaluate import evaluate_run
    from regcls_jax.loop.tasks import every_field, expand, read_run, task_of
    from regcls_jax.report.kinds import KINDS
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
    split = SPLIT.value
    if IMAGES.value:
        split, task = "images", task_of(run)
        if task.labelled is None:
            raise ValueError(f"runs of task {run.task!r} are tested on the splits of their data set, not on --images")
        run = dataclasses.replace(run, workers=0)  # files in archives are open in this process alone
        other, faults = task.labelled(IMAGES.value, SCALE.value)
        data = data._replace(splits={**data.splits, split: other})
        print(f"{len(other.names)} {task.samples} of {IMAGES.value}", cli.unusable(faults, task.samples), flush=True)
    tested = evaluate_run(run, data, split, source, CHECKPOINT.value)
    metrics = tested.rows.columns[list(tested.rows.columns).index("shot") :].drop("n")
    print(markdown(tested.rows[["arm", *metrics]].round(3)))
    folder = Path(FIGURES.value) if FIGURES.value else (source if RUN.value else source.parent) / "report"
    KINDS[run.task].save_run(folder, run, data, split, tested.measure, tested.evaluation, tested.predict)
    print(f"Figures: {folder}")


if __name__ == "__main__":
    cli.run(main)
