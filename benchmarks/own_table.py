"""The verdict on a large table, and networks beside scikit-learn's MLPRegressor.

python benchmarks/own_table.py --mlp        # the same number of fits, in turns, on all cores
python benchmarks/own_table.py --advise     # launch/advise.py on 100,000 x 50 generated rows: time and peak memory

The networks are those of configs/own.py on a table of Abalone's size (4,177 x 10). Our time has everything but the
first call, which compiles; that stands beside it.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from absl import flags
from measure import CPUS, cpu_times, others_share, spread
from mlp_worker import table
from worker import Worker, ask_together

from regcls_jax import cli
from regcls_jax.report.tables import markdown

ROOT = Path(__file__).parents[1]
MLP = flags.DEFINE_bool("mlp", False, "Compare with MLPRegressor.")
ADVISE = flags.DEFINE_bool("advise", False, "Time launch/advise.py.")
ROWS = flags.DEFINE_integer("rows", 100_000, "Rows of --advise.", lower_bound=100)
COLUMNS = flags.DEFINE_integer("columns", 50, "Columns of --advise.", lower_bound=2)
CONFIG = flags.DEFINE_string("config", str(ROOT / "configs" / "own.py"), "Config of --advise.")
FITS = flags.DEFINE_integer("fits", 64, "Trainings of --mlp.", lower_bound=2)
EPOCHS = flags.DEFINE_integer("epochs", 59, "Epochs of --mlp.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 3, "Turns of --mlp.", lower_bound=1)


def against_mlp() -> pd.DataFrame:
    """Seconds of the same number of trainings, in turns, each side on all cores."""
    request = {"rows": 4177, "columns": 10, "epochs": EPOCHS.value, "batch_size": 64, "hidden": [64, 32]}
    ours, theirs = [], []
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(Worker("fit_worker.py", CPUS))
        others = [stack.enter_context(Worker("mlp_worker.py", [cpu], OMP_NUM_THREADS="1")) for cpu in CPUS]
        first = mine.ask(**request, fits=FITS.value)["seconds"]
        for _ in range(TURNS.value):
            ours.append(mine.ask(**request, fits=FITS.value)["seconds"])
            share = FITS.value // len(CPUS)
            theirs.append(max(answer["seconds"] for answer in ask_together(others, **request, fits=share)))
    fits = FITS.value // len(CPUS) * len(CPUS)
    ratios = spread(their / own * FITS.value / fits for their, own in zip(theirs, ours, strict=True))
    lines = []
    for name, seconds, count in (("study engine", ours, FITS.value), ("MLPRegressor", theirs, fits)):
        found = spread(60 * count / each for each in seconds)
        lines.append({"program": name, "fits/min": "{median:.0f} ({low:.0f}–{high:.0f})".format(**found)})
    lines[0] |= {
        "first call": f"{first:.1f} s",
        "MLPRegressor : this": "{median:.1f} ({low:.1f}–{high:.1f})".format(**ratios),
    }
    return pd.DataFrame(lines)


def advise() -> pd.DataFrame:
    """The whole command on a generated table."""
    with tempfile.TemporaryDirectory(prefix="advise-") as folder:
        inputs, targets, _ = table(ROWS.value, COLUMNS.value)
        path = Path(folder) / "table.csv"
        frame = pd.DataFrame(inputs, columns=[f"x{number}" for number in range(COLUMNS.value)])
        frame.assign(y=targets).to_csv(path, index=False)
        command = [sys.executable, str(ROOT / "launch" / "advise.py"), f"--data={path}", "--target=y"]
        command += [f"--workdir={folder}/w", f"--config={CONFIG.value}"]
        before, clock = cpu_times(), time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "JAX_PLATFORMS": "cpu"})
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise OSError(f"launch/advise.py ended with status {os.waitstatus_to_exitcode(status)}")
        row = {
            "rows": f"{ROWS.value:,}",
            "columns": COLUMNS.value,
            "s": f"{time.perf_counter() - clock:.0f}",
            "peak MB": f"{used.ru_maxrss / 1024:.0f}",
            "other programs": f"{others_share(before, cpu_times()):.0%}",
        }
    return pd.DataFrame([row])


def main() -> None:
    if not (MLP.value or ADVISE.value):
        raise ValueError("nothing to measure: give --mlp or --advise")
    if MLP.value:
        print(markdown(against_mlp()))
    if ADVISE.value:
        print(markdown(advise()))


if __name__ == "__main__":
    cli.run(main)
