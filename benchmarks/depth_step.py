"""Images a second of the depth network's training step, beside the same network in PyTorch, in turns on the same cores.

python benchmarks/depth_step.py [--classes=0 --classes=100] [--batch_size=4] [--layers=18 --channels=8] [--torch]

Needs, for --torch, pip install -e '.[bench]'. Noise for pictures; depths for every pixel; Adam; float32.
"""

import contextlib

import measure
import pandas as pd
from absl import flags
from depth_memory import BATCH_SIZE, CHANNELS, CLASSES, HEIGHT, LAYERS, WIDTH
from sections import on_cores, spread_cell
from worker import Answer, Worker

from regcls_jax import cli
from regcls_jax.report.tables import markdown

STEPS = flags.DEFINE_integer("steps", 5, "Steps of each program, after one that does not count.", lower_bound=1)
TORCH = flags.DEFINE_bool("torch", False, "Compare with PyTorch.")

OURS = "JAX"
LAYOUTS = ("NCHW", "channels_last")


def main() -> None:
    rows = []
    opponent = Worker("torch_depth_worker.py", measure.CPUS) if TORCH.value else contextlib.nullcontext()
    before = measure.cpu_times()
    with Worker("depth_worker.py", measure.CPUS) as ours, opponent as theirs:
        for classes in CLASSES.value:
            run = {
                **{"classes": classes, "batch_size": BATCH_SIZE.value, "layers": LAYERS.value, "width": CHANNELS.value},
                **{"image_height": HEIGHT.value, "image_width": WIDTH.value},
            }
            turns: list[dict[str, Answer]] = []
            for _ in range(STEPS.value):
                turns.append({OURS: ours.ask(run=run)})
                if theirs is not None:
                    turns[-1] |= {layout: theirs.ask(run=run, layout=layout) for layout in LAYOUTS}
            for name in turns[0]:
                rate, ratio, work = (
                    spread_cell(measure.spread(values), 2)
                    for values in (
                        [BATCH_SIZE.value / turn[name]["seconds"] for turn in turns],
                        [turn[name]["seconds"] / turn[OURS]["seconds"] for turn in turns],
                        [turn[name]["core_seconds"] / BATCH_SIZE.value for turn in turns],
                    )
                )
                cells = {"classes": str(classes), "program": name, "images/s": rate, "core-seconds per image": work}
                rows.append(cells | {"images/s, JAX : this": "" if name == OURS else ratio})
    print(f"ResNet-{LAYERS.value}, width {CHANNELS.value}, {HEIGHT.value} x {WIDTH.value}, batch {BATCH_SIZE.value}, ")
    print(f"{on_cores(len(measure.CPUS))}; medians and ranges of {STEPS.value} steps.\n")
    print(markdown(pd.DataFrame(rows)))
    print(f"\nOther programs used {measure.others_share(before, measure.cpu_times()):.0%} of the cores.")


if __name__ == "__main__":
    cli.run(main)
