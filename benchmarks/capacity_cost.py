"""The cost of a study that is too large to run: hours computed from its trainings by shape and rates measured now.

python benchmarks/capacity_cost.py --config=configs/capacity.py [--output=capacity_cost.md]
"""

import collections
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import measure
import pandas as pd
import sections
import tqdm
from absl import flags

from regcls_jax import cli
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import write_atomic
from regcls_jax.study.runs import ARM_FIELDS, Run, expand

CONFIG = cli.define_config("The study: configs/<name>.py[:variant].")
SAMPLES = flags.DEFINE_integer("samples", 2560, "Training samples that rates are measured with.", lower_bound=256)
TFLOPS = flags.DEFINE_float(
    "tflops",
    1.0,
    "Assumed sustained float32 TFLOP/s of the accelerator. 1 is 5 % of the 19.5 that the data sheet of an A100 gives "
    "without tensor cores: these layers are 4 to 64 wide, so memory is what limits them.",
    lower_bound=1e-6,
)
OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write.")
flags.mark_flag_as_required("config")

# Fields of a run that its rate depends on, measured at their defaults only.
MEASURED_WITH = ("epochs", "batch_size", "balanced", "regression", "trace")


class Shape(NamedTuple):
    """What the cost of a training depends on."""

    optimizer: str
    hidden: tuple[int, ...]
    classes: int


def trainings_by_shape(config: Mapping[str, Any]) -> dict[Shape, int]:
    """How many trainings of each shape a study asks for; only those of one function and repetition are expanded.

    Raises ValueError for runs whose cost is not measured here: other epochs or batches, equalised classes, a trace.
    """
    data = config["data"]
    runs = expand({**config, "data": {**data, "functions": 1, "repetitions": 1}})
    for run in runs:
        for field in MEASURED_WITH:
            if getattr(run, field) != getattr(Run, field):
                raise ValueError(f"arm {run.arm!r}: costs are measured with {field} = {getattr(Run, field)!r} only")
    counts = collections.Counter(Shape(run.optimizer, run.hidden, run.classes) for run in runs)
    return {shape: counts[shape] * data["functions"] * data["repetitions"] for shape in sorted(counts)}


def batches(samples: int) -> int:
    """Steps of an epoch, which the time of a training is proportional to."""
    return samples // Run.batch_size


def cost_table(counts: Mapping[Shape, int], rates: Mapping[Shape, float], samples: int) -> pd.DataFrame:
    """One line per shape: trainings, trainings_per_minute, hours, pflop.

    Args:
      counts: trainings of each shape.
      rates: measured trainings of each shape per minute, at `samples` samples.
      samples: what the rates were measured with; they are scaled to a data set of Fig. 3.
    """
    scale = batches(samples) / batches(measure.FIG3_SAMPLES)
    lines = []
    for shape, count in counts.items():
        rate = rates[shape] * scale
        gflop = measure.gflop_of_training(shape.classes, measure.FIG3_SAMPLES, shape.hidden)
        line = {"trainings": count, "trainings_per_minute": rate, "hours": count / rate / 60}
        lines.append(shape._asdict() | line | {"pflop": count * gflop / 1e6})
    return pd.DataFrame(lines)


def measured_rates(shapes: Iterable[Shape], samples: int) -> dict[Shape, float]:
    """Trainings per minute of each shape on all cores: the better of two calls, each of one chunk per core."""
    rates = {}
    with measure.engine() as engine:
        for shape in tqdm.tqdm(shapes):
            answers = [engine.ask(samples=samples, chunks=1, **shape._asdict()) for _ in range(2)]
            rates[shape] = max(60 * answer["trainings"] / answer["seconds"] for answer in answers)
    return rates


def page(costs: pd.DataFrame, samples: int, tflops: float, others: float) -> str:
    """The costs as Markdown: by optimiser and class count, in total, and on an accelerator by computation."""
    sizes = costs["hidden"].map(lambda hidden: f"{hidden[-1]} units")
    rates = costs.assign(size=sizes).pivot(
        index=["optimizer", "classes"], columns="size", values="trainings_per_minute"
    )[list(dict.fromkeys(sizes))]
    sums = costs.groupby(["optimizer", "classes"])[["trainings", "hours", "pflop"]].sum()
    frame = rates.map("{:,.0f}".format).join(sums["trainings"].map("{:,}".format))
    frame = frame.join(sums[["hours", "pflop"]].map("{:,.2f}".format)).reset_index()
    total = costs[["trainings", "hours", "pflop"]].sum()
    cores = sections.on_cores(len(measure.CPUS))
    hours = total["pflop"] * 1e3 / tflops / 3600
    return "\n\n".join(
        [
            f"Columns of sizes: trainings/min on {cores}, measured at {samples:,} samples x {Run.epochs} epochs and "
            f"scaled by batches to {measure.FIG3_SAMPLES:,} samples; other programs used {100 * others:.0f} % of the "
            "cores.",
            markdown(frame),
            f"**{total['trainings']:,.0f} trainings: {total['hours']:,.1f} hours on {cores}**, the sum of trainings / "
            "rate.",
            f"**{hours:,.1f} hours on one accelerator, computed, not measured**: {total['pflop']:,.1f} PFLOP of matrix "
            f"products / {tflops:g} TFLOP/s, an assumption (--tflops).",
        ]
    )


def main() -> None:
    config = CONFIG.read(ARM_FIELDS)
    counts = trainings_by_shape(config)
    clock, before = time.monotonic(), measure.cpu_times()
    costs = cost_table(counts, measured_rates(counts, SAMPLES.value), SAMPLES.value)
    others = measure.others_share(before, measure.cpu_times())
    title = f"# Cost of {config['name']}\n\nMeasured in {time.monotonic() - clock:.0f} s."
    text = f"{title}\n\n{page(costs, SAMPLES.value, TFLOPS.value, others)}\n"
    print(text, end="")
    if OUTPUT.value:
        write_atomic(OUTPUT.value, text)


if __name__ == "__main__":
    cli.run(main)
