"""Reports a study: tables and the figure from the rows in its work directory.

python launch/report.py --workdir=runs/fig3 [--shading=std|paper] [--export=results/fig3]
"""

from absl import flags

from regcls_jax import cli

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the study: config.json, meta.json and rows/.", required=True)
SHADING = flags.DEFINE_enum(
    "shading",
    "std",
    ["std", "paper"],
    "Band around the means: std over runs, or the std over functions of the std over seeds (the paper).",
)
EXPORT = flags.DEFINE_string("export", None, "Folder that also gets the tables, figure, test rows and metadata.")


def main() -> None:
    from regcls_jax.report.build import report  # slow imports: --help must not wait for them

    print(report(WORKDIR.value, shading=SHADING.value, export=EXPORT.value))


if __name__ == "__main__":
    cli.run(main)
