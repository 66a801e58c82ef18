"""Time and memory of Table 5's largest task, on generated features with the true lengths of all videos.

python benchmarks/breakfast.py --lengths=../shared/data/breakfast_video_lengths.csv [--arms=reg] [--torch]

Every arm is one process that trains some seeds of configs/tab5.py on fold S1 and evaluates them; the first one reads
the feature files, too, the others its cache. The features are noise: only the clock means anything. With --torch, which
needs pip install -e '.[bench]', a bare PyTorch loop on every core follows each arm, for one epoch.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags
from measure import CPUS, cpu_times, others_share
from worker import Worker, ask_together

from regcls_jax import cli
from regcls_jax.config_file import load
from regcls_jax.data.breakfast import FOLDS, TASKS, WIDTH
from regcls_jax.report.tables import markdown

ROOT = Path(__file__).parents[1]
LENGTHS = flags.DEFINE_string("lengths", None, "CSV of video, frames.", required=True)
TASK = flags.DEFINE_enum("task", "pancake", TASKS, "The task; pancake has most frames.")
ARMS = flags.DEFINE_multi_string("arms", ["reg", "reg_cls"], "Arms of configs/tab5.py.")
EPOCHS = flags.DEFINE_integer("epochs", 40, "Epochs.", lower_bound=1)
SEEDS = flags.DEFINE_integer("seeds", 2, "Trainings of every arm.", lower_bound=1)
TORCH = flags.DEFINE_bool("torch", False, "Compare with PyTorch.")

CONFIG = """
import sys

sys.path.insert(0, {root!r})
from configs.tab5 import get_config as whole


def get_config(variant="full"):
    config = whole()
    config.data.update({{"features": {features!r}, "tasks": ({task!r},), "folds": ("S1",), "repetitions": {seeds}}})
    config.run.epochs = {epochs}
    config.run.boundaries = ()
    config.arms = {{{arm!r}: config.arms[{arm!r}]}}
    return config
"""


def own_videos() -> pd.DataFrame:
    """The videos of the task and their frames."""
    lengths = pd.read_csv(LENGTHS.value)
    return lengths[lengths["video"].str.endswith(f"_{TASK.value}")]


def training_frames() -> int:
    """About the frames of fold S1 that are trained on: two thirds of those of the other persons."""
    own = own_videos()
    persons = own["video"].str.extract(r"P(\d+)", expand=False).astype(int)
    return int(own.loc[~persons.isin(FOLDS["S1"]), "frames"].sum() * 2 / 3)


def write_features(folder: Path) -> tuple[int, int]:
    """A .npy file of noise for every video of the task; videos and frames."""
    own = own_videos()
    generator = np.random.default_rng(0)
    for video, frames in own.itertuples(index=False):
        np.save(folder / f"{video}.npy", generator.standard_normal((frames, WIDTH), np.float32))
    return len(own), int(own["frames"].sum())


def run(arm: str, features: Path, folder: Path) -> dict[str, object]:
    """Trains an arm in a process of its own; seconds and peak memory."""
    settings = {"root": str(ROOT), "features": str(features), "task": TASK.value, "arm": arm}
    config = folder / f"{arm}.py"
    config.write_text(CONFIG.format(**settings, epochs=EPOCHS.value, seeds=SEEDS.value))
    command = [sys.executable, str(ROOT / "launch" / "study.py"), f"--config={config}"]
    command += [f"--workdir={folder / arm}", f"--cache_dir={folder / 'cache'}"]
    before, clock = cpu_times(), time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise OSError(f"{arm}: launch/study.py ended with status {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - clock
    others = others_share(before, cpu_times())
    row = {
        "arm": arm,
        "trainings": SEEDS.value,
        "s": f"{seconds:.0f}",
        "CPU s": f"{used.ru_utime + used.ru_stime:.0f}",
        "peak MB": f"{used.ru_maxrss / 1024:.0f}",
        "other programs": f"{others:.0%}",
    }
    return row | torch_cells(arm, seconds) if TORCH.value else row


def torch_cells(arm: str, seconds: float) -> dict[str, str]:
    """Core seconds of an epoch of a training: ours, everything included, and the bare loop's."""
    config = load(str(ROOT / "configs" / "tab5.py"))
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(Worker("torch_breakfast_worker.py", [cpu])) for cpu in CPUS]
        request = {"frames": training_frames(), "classes": config["arms"][arm].get("classes", 0)}
        answers = ask_together(loops, **request, batch_size=config["run"]["batch_size"])
    theirs = statistics.mean(answer["seconds"] for answer in answers)
    ours = seconds * len(CPUS) / SEEDS.value / EPOCHS.value
    return {
        "core s an epoch": f"{ours:.2f}",
        "of PyTorch": f"{theirs:.2f}",
        "PyTorch : ours": f"{theirs / ours:.1f}",
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="breakfast-") as folder:
        features = Path(folder) / "features"
        features.mkdir()
        videos, frames = write_features(features)
        size = 4 * frames * WIDTH / 1e6
        print(f"{TASK.value}: {videos} videos, {frames:,} frames, features {size:.0f} MB; generated", flush=True)
        print(markdown(pd.DataFrame([run(arm, features, Path(folder)) for arm in ARMS.value])))
        print(f"Goal: at most {1.5 * size + 600:.0f} MB a process.")


if __name__ == "__main__":
    cli.run(main)
