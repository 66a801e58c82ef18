"""Measures what we claim about the speed of the study engine, on this machine.

python benchmarks/study.py [--quick] [--output=benchmarks.md]
"""

import dataclasses
import importlib.metadata
import json
import platform
import time
from pathlib import Path

import measure
import sections
from absl import flags
from measure import Effort

from regcls_jax import cli
from regcls_jax.store.files import write_atomic
from regcls_jax.store.meta import VERSIONS

QUICK = flags.DEFINE_bool("quick", False, "Under a minute: one size, all cores, fewer repetitions.")
TINY = flags.DEFINE_bool("tiny", False, "For the tests: a few seconds, and numbers that mean nothing.")
OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write; the numbers go beside it, as .json.")

QUICK_EFFORT = Effort(
    samples=(measure.REFERENCE_SAMPLES,),
    cores=(len(measure.CPUS),),
    rounds=2,
    turns=1,
    functions=1,
    repetitions=1,
)
TINY_EFFORT = dataclasses.replace(QUICK_EFFORT, classes=(0, 4), samples=(600,), compared=(4,), rounds=1)


def processor() -> str:
    """The processor's name (on Linux), else the machine type."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    effort = TINY_EFFORT if TINY.value else QUICK_EFFORT if QUICK.value else Effort()
    output = measure.output_file(OUTPUT.value)
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    machine = f"{processor()}, {len(measure.CPUS)} cores"
    pages = ["# Speed of the study engine", f"{machine}; jax {versions['jax']}, NumPy {versions['numpy']}."]
    print("\n\n".join(pages), flush=True)

    clock, before = time.monotonic(), measure.cpu_times()
    numbers = {}
    with measure.engine() as engine:
        for name in ("throughput", "vector_width", "against_torch"):
            numbers[name] = getattr(measure, name)(effort, engine)
            pages.append(getattr(sections, name)(numbers[name]))
            print(f"\n{pages[-1]}", flush=True)
    numbers["data_sets"] = measure.data_sets(effort)
    pages.append(sections.data_sets(numbers["data_sets"]))
    others = measure.others_share(before, measure.cpu_times())
    seconds = time.monotonic() - clock
    pages.append(f"Measured in {seconds:.0f} s, while other programs used {100 * others:.0f} % of the cores.")
    print("\n" + "\n\n".join(pages[-2:]))

    if output:
        facts = {"machine": machine, "versions": versions, "seconds": seconds, "others_share": others}
        write_atomic(output, "\n\n".join(pages) + "\n")
        write_atomic(output.with_suffix(".json"), json.dumps({**facts, **numbers}, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
