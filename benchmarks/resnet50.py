"""Throughput of the image training: its step and its input measured here, its time on accelerators computed.

python benchmarks/resnet50.py [--config=configs/imdb_wiki.py:reg_cls_100] [--torch] [--output=resnet50.md]

The flags of benchmarks/image_pipeline.py set how the input is measured.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import image_pipeline
import measure
import pandas as pd
import resnet_cost
from absl import flags
from generated import generated_split
from measure import Record
from resnet_cost import Accelerator, Network
from sections import on_cores, spread_cell
from worker import Answer, Worker

from regcls_jax import cli
from regcls_jax.data.imdb_wiki import train_counts
from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.tasks import every_field, expand
from regcls_jax.report.tables import markdown
from regcls_jax.store.files import write_atomic

CONFIG = cli.define_config(
    "The training, the first one of configs/<name>.py[:variant].",
    default=str(Path(__file__).parents[1] / "configs" / "imdb_wiki.py:reg"),
)
STEP_BATCH_SIZES = flags.DEFINE_multi_integer("step_batch_sizes", [16, 32], "Batches of the steps run.", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", 3, "Steps of each batch size, after one that does not count.", lower_bound=1)
TORCH = flags.DEFINE_bool("torch", False, "Compare with PyTorch: pip install -e '.[bench]'.")
ACCELERATORS = flags.DEFINE_multi_string(
    "accelerators",
    ["A100, float32 as TF32=156", "A100, bfloat16=312", "A100, float32 in full=19.5", "TPU v4, bfloat16=275"],
    "name=peak TFLOP/s, of data sheets.",
)
UTILISATION = flags.DEFINE_multi_float(
    "utilisation", [0.15, 0.3], "Assumed shares of that peak.", lower_bound=1e-3, upper_bound=1.0
)
DEVICES = flags.DEFINE_multi_integer("devices", [1, 8], "Numbers of accelerators.", lower_bound=1)

OURS = "JAX"
LAYOUTS = ("NCHW", "channels_last")


def input_rates(image_size: int) -> list[dict[str, float]]:
    """The records of image_pipeline.py on images that it generates."""
    flags.set_default(image_pipeline.IMAGE_SIZE, image_size)
    with generated_split(image_pipeline.IMAGES.value, image_pipeline.PIXELS.value) as split:
        return [image_pipeline.compare(split, workers) for workers in image_pipeline.WORKERS.value]


def decoded_per_process(records: Sequence[dict[str, float]]) -> float:
    """Images/s of one process of the input pipeline, in its slowest setting."""
    return min(record["pipeline"] / max(record["workers"], 1) for record in records)


def step_records(run: AgeRun, ours: Worker, batch_sizes: Sequence[int], steps: int, torch: bool) -> list[Record]:
    """Steps by batch size and program, ours and PyTorch's in turns on the same cores.

    Images/s and core-seconds per image of each, and ours over it (`faster`) and it over ours (`work`), turn by turn.
    """
    records = []
    opponent = Worker("torch_resnet_worker.py", measure.CPUS) if torch else contextlib.nullcontext()
    with opponent as theirs:
        for batch_size in batch_sizes:
            request = dataclasses.asdict(dataclasses.replace(run, batch_size=batch_size))
            turns: list[dict[str, Answer]] = []
            for _ in range(steps):
                turns.append({OURS: ours.ask(run=request, task="step")})
                if theirs is not None:
                    turns[-1] |= {layout: theirs.ask(run=request, layout=layout) for layout in LAYOUTS}
            for name in turns[0]:
                record = {"batch_size": batch_size, "program": name}
                record["rate"] = measure.spread(batch_size / turn[name]["seconds"] for turn in turns)
                record["core_seconds"] = measure.spread(turn[name]["core_seconds"] / batch_size for turn in turns)
                for ratio, unit in (("faster", "seconds"), ("work", "core_seconds")):
                    record[ratio] = measure.spread(turn[name][unit] / turn[OURS][unit] for turn in turns)
                records.append(record)
    return records


def step_section(records: Sequence[Record], run: AgeRun, flop: float) -> str:
    """Measured images/s of the step."""
    rows = [
        {
            "batch": str(record["batch_size"]),
            "program": record["program"],
            "images/s": spread_cell(record["rate"], 2),
            "GFLOP/s": f"{record['rate']['median'] * flop / 1e9:,.0f}",
            "core-seconds per image": spread_cell(record["core_seconds"], 3),
        }
        | {
            title: "" if record["program"] == OURS else spread_cell(record[ratio], 2)
            for title, ratio in (("images/s, JAX : this", "faster"), ("core-seconds, this : JAX", "work"))
        }
        for record in records
    ]
    best = max((record for record in records if record["program"] == OURS), key=lambda record: record["rate"]["median"])
    note = f"ResNet-{run.depth}, width {run.width}, {run.image_size} x {run.image_size}, {run.dtype}: the jitted, "
    note += f"donated step on {on_cores(len(measure.CPUS))}, {run.optimizer}; medians (and ranges) of {STEPS.value} "
    note += f"steps. Best: {best['rate']['median']:.1f} images/s at batch {best['batch_size']}. Core-seconds, of all "
    note += "threads, depend less on what else the machine does. GFLOP/s of the analytic count."
    if len(records) > len(STEP_BATCH_SIZES.value):
        note += " PyTorch (NCHW, channels_last): the same network, batch and threads, fused Adam, in turns with ours."
    return "\n\n".join(["## Step (measured)", note, markdown(pd.DataFrame(rows))])


def input_section(records: Sequence[dict[str, float]]) -> str:
    """Measured images/s of the input."""
    rows = [
        {
            "worker processes": str(record["workers"]),
            "pipeline, images/s": f"{record['pipeline']:,.0f}",
            "bare decoding, images/s": f"{record['bare']:,.0f}",
            "ratio": f"{record['ratio']:.2f} ({record['low']:.2f}–{record['high']:.2f})",
        }
        for record in records
    ]
    note = f"As benchmarks/image_pipeline.py measures it: generated JPEGs of {image_pipeline.PIXELS.value} pixels to "
    note += f"{image_pipeline.IMAGE_SIZE.value} x {image_pipeline.IMAGE_SIZE.value}, medians of "
    note += f"{image_pipeline.TURNS.value} turns (0 workers: one thread)."
    return "\n\n".join(["## Input pipeline (measured)", note, markdown(pd.DataFrame(rows))])


def cost_section(cost: Answer, run: AgeRun, net: Network) -> str:
    """XLA's figures for the compiled step beside the analytic count."""
    analytic = resnet_cost.training_flop(net.layers)
    flops = {
        "analytic: 3 x forward, without the gradient of the images": analytic,
        "of these, not with padding zeros": resnet_cost.training_flop(net.layers, padding=False),
        "XLA, as lowered": cost["lowered_flop"] / run.batch_size,
        "XLA, as compiled for this CPU": cost["compiled_flop"] / run.batch_size,
    }
    counted = [
        {"GFLOP per image": name, "": f"{flop / 1e9:.2f}", "of the analytic count": f"{flop / analytic:.3f}"}
        for name, flop in flops.items()
    ]
    itemsize = 2 if run.dtype == "bfloat16" else 4
    sizes = {
        "parameters and two moments of Adam, analytic": 3 * 4 * net.parameters,
        "arguments: that, running statistics and the batch": cost["argument_bytes"],
        "of these donated, reused for the new state": cost["alias_bytes"],
        "activations for the backward pass, analytic": resnet_cost.activation_values(net) * run.batch_size * itemsize,
        "temporary": cost["temporary_bytes"],
    }
    stored = [{"memory": name, "GB": f"{size / 1e9:.2f}"} for name, size in sizes.items()]
    forward = resnet_cost.forward_flop(net.layers)
    note = f"Batch {run.batch_size}, compiled for one CPU device in {cost['compile_seconds']:.0f} s and not run. "
    note += f"{net.parameters:,} parameters; forward {forward / 2e9:.3f} G multiply-adds per image."
    reasons = (
        "XLA leaves out multiply-adds with padding zeros and adds BatchNorm, ReLU, pooling, loss and Adam; compiled, "
    )
    reasons += "also what fused loops do again. Activations: what convolutions and BatchNorms put out. The rest of the "
    reasons += "temporary memory, gradients and copies in flight, depends on the compiler."
    tables = (markdown(pd.DataFrame(table)) for table in (counted, stored))
    return "\n\n".join(["## Compiled step against the analytic count", note, *tables, reasons])


def time_section(run: AgeRun, flop: float, accelerators: Sequence[Accelerator], decoded: float) -> str:
    """COMPUTED hours on accelerators."""
    images = int(train_counts().sum())
    frame = resnet_cost.times(
        flop, run.epochs * images, accelerators, UTILISATION.value, sorted(DEVICES.value), decoded
    )
    shown = pd.DataFrame(
        {
            "accelerator": frame["accelerator"],
            "peak TFLOP/s": frame["peak_tflops"].map("{:g}".format),
            "devices": frame["devices"].map(str),
            "utilisation": frame["utilisation"].map("{:.0%}".format),
            "images/s": frame["images_per_second"].map("{:,.0f}".format),
            "hours": frame["hours"].map("{:,.1f}".format),
            "decoding processes": frame["decoders"].map("{:,}".format),
        }
    )
    note = f"**Computed, not measured**: {run.epochs} epochs x {images:,} images x {flop / 1e9:.2f} GFLOP (analytic) / "
    note += "(devices x peak x utilisation). Peaks are those of data sheets, utilisation (--utilisation) is assumed, "
    note += "several devices scale perfectly. `images/s` is the rate that the input must keep up with, `decoding "
    note += f"processes` how many cores that takes at the {decoded:,.0f} images/s one process reached here at least. "
    note += "Validation is not counted."
    return "\n\n".join(["## Time of the published training (COMPUTED)", note, markdown(shown)])


def main() -> None:
    if TORCH.value and importlib.util.find_spec("torch") is None:
        raise ValueError("--torch: PyTorch is not installed; pip install -e '.[bench]'")
    output = measure.output_file(image_pipeline.OUTPUT.value)
    accelerators = [resnet_cost.parse_accelerator(text) for text in ACCELERATORS.value]
    run = expand(CONFIG.read(every_field()))[0]
    net = resnet_cost.network(run)
    flop = resnet_cost.training_flop(net.layers)

    clock, before = time.monotonic(), measure.cpu_times()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", *("torch",) * TORCH.value))
    machine = f"{platform.machine()}, {on_cores(len(measure.CPUS))}"
    pages = [f"# Throughput of {run.arm}, ResNet-{run.depth}", f"{machine}; {versions}."]
    with Worker("resnet_worker.py", measure.CPUS) as ours:
        records = step_records(run, ours, STEP_BATCH_SIZES.value, STEPS.value, TORCH.value)
        pages.append(step_section(records, run, flop))
        print("\n\n".join(pages), flush=True)
        pages.append(cost_section(ours.ask(run=dataclasses.asdict(run), task="cost"), run, net))
        print(f"\n{pages[-1]}", flush=True)
    inputs = input_rates(run.image_size)
    pages += [input_section(inputs), time_section(run, flop, accelerators, decoded_per_process(inputs))]
    others = measure.others_share(before, measure.cpu_times())
    seconds = time.monotonic() - clock
    pages.append(f"Measured in {seconds:.0f} s, while other programs used {100 * others:.0f} % of the cores.")
    print("\n" + "\n\n".join(pages[4:]))
    if output:
        write_atomic(output, "\n\n".join(pages) + "\n")


if __name__ == "__main__":
    cli.run(main)
