"""Draws Figures 1 and 2: what the controlled 1-D data look like. Nothing is trained.

python launch/figures.py --out=results/data [--function=0] [--repetition=0]
"""

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

OUT = define_path("out", None, "Folder that gets figure1 and figure2, as PNG and SVG.", required=True)
FUNCTION = flags.DEFINE_integer("function", 0, "The function shown; the paper has 0-9.", lower_bound=0)
REPETITION = flags.DEFINE_integer("repetition", 0, "Which of its data sets; the paper has 0-4.", lower_bound=0)
CACHE_DIR = define_path(
    "cache_dir",
    cli.CACHE_DIR,
    "Folder of the generated data sets (1 MB each), shared with the studies.",
)


def main() -> None:
    from regcls_jax.report.paper.data_figures import write_figures  # slow imports: --help must not wait for them

    for path in write_figures(OUT.value, CACHE_DIR.value, function=FUNCTION.value, repetition=REPETITION.value):
        print(path)


if __name__ == "__main__":
    cli.run(main)
