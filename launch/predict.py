"""Predicts the target of new images with a trained network: a CSV file with a line per image, or their depth maps.

python launch/predict.py --run=runs/houses/reg/seed0 --images=new_photos --out=predictions.csv
python launch/predict.py --run=runs/nyu_small/reg/seed0 --images=new_photos --out=depths    # or depths.npy

Depth is written as 16-bit PNG in millimetres, NAME.png in the folder --out, or all of it as one array in metres if
--out ends in .npy; NAME_depth.png shows each picture beside its depth. A map has half the rows and columns of the
network's input, which is the centre of a picture once that is scaled: it does not lie on the picture as it was.
"""

import dataclasses
from pathlib import Path

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

RUN = define_path("run", None, "Folder of a run: <workdir>/<arm>/seed<k>.", required=True)
IMAGES = define_path("images", None, "Folder of the images, or of zip or tar archives with them.", required=True)
OUT = define_path("out", None, "What gets the predictions: by default predictions.csv, or the folder depths.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "newest"], "Which checkpoint of the run.")
DATA_DIR = define_path("data_dir", cli.PREPARED_DIR, "Folder that launch/prepare.py wrote the training data to.")
PLATFORM = cli.define_platform()


def main() -> None:
    from regcls_jax import devices
    from regcls_jax.loop.evaluate import restore  # slow imports: --help must not wait for them
    from regcls_jax.loop.predict import predict
    from regcls_jax.loop.tasks import read_run, task_of
    from regcls_jax.report.kinds import KINDS

    print(devices.start(PLATFORM.value, cpu_devices=1), flush=True)
    run = dataclasses.replace(read_run(Path(RUN.value)), workers=0)
    task = task_of(run)
    data = task.load(run.dataset, DATA_DIR.value)
    split, faults = task.unlabelled(IMAGES.value)
    engine, state = restore(run, data, Path(RUN.value), CHECKPOINT.value)
    kind = KINDS[run.task]
    out = OUT.value or kind.out
    if Path(out).resolve() == Path(IMAGES.value).resolve():
        raise ValueError(f"--out={out} is the folder of --images, whose pictures it would replace; choose another")
    kind.predicted(out, run, data, split, predict(engine, state, split))
    print(f"{len(split.names)} predictions of {run.arm} (seed {run.seed}): {out}")
    if line := cli.unusable(faults, task.samples):
        print(line)


if __name__ == "__main__":
    cli.run(main)
