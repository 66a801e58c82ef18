"""Over several tables: does a classification loss help, and at which imbalance? Mean ranks of all arms, with intervals.

python launch/advise.py --data=a.csv --target=price --workdir=runs/tables/a      # first, once per table
python launch/advise.py --data=b.csv --target=days --workdir=runs/tables/b
python launch/ranks.py --workdir=runs/tables/a --workdir=runs/tables/b --out=runs/tables/all [--html=FILE]

An exported folder (results/tabular) serves as a workdir, too.
"""

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path, define_paths

WORKDIR = define_paths("workdir", "Folder of a study of launch/advise.py. Give it once per table.", required=True)
OUT = define_path("out", None, "Folder that gets tables, figures, and every fold's errors.", required=True)
HTML = define_path("html", None, "File that gets one self-contained page.")
flags.register_validator("workdir", lambda paths: bool(paths), message="give at least one")


def main() -> None:
    from regcls_jax.report.build import publish
    from regcls_jax.report.own.across_report import across_report
    from regcls_jax.report.page import page
    from regcls_jax.store.files import write_atomic  # slow imports: --help must not wait for them

    report = across_report(WORKDIR.value, command=cli.command())
    print(publish(report, OUT.value, export=OUT.value))
    if HTML.value:
        write_atomic(HTML.value, page([(OUT.value, report)], title="Does a classification loss help on real tables?"))
        print(f"Page: {HTML.value}")


if __name__ == "__main__":
    cli.run(main)
