"""Reports studies: tables and figures from the rows in their work directories, and one HTML page of them all.

python launch/report.py --workdir=runs/fig3 [--shading=std|paper] [--export=results/fig3]
python launch/report.py --workdir=runs/fig3 --workdir=runs/tab1 --html=runs/report.html
python launch/report.py --workdir=runs/utkface [--export=results/utkface]
"""

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path, define_paths

WORKDIR = define_paths(
    "workdir", "Folder of a study: config.json, meta.json and rows. Give it once per study.", required=True
)
SHADING = flags.DEFINE_enum(
    "shading",
    "std",
    ["std", "paper"],
    "Band around the means: std over runs, or the std over functions of the std over seeds (the paper).",
)
EXPORT = define_path("export", None, "Folder that also gets tables, figures, rows and metadata (one study).")
UNFINISHED = flags.DEFINE_bool(
    "unfinished", False, "Report a study that is still being trained: the arms and class counts that are complete."
)
HTML = define_path("html", None, "File that gets one self-contained page of all studies.")


def main() -> None:
    from regcls_jax.report.build import build, publish
    from regcls_jax.report.page import page
    from regcls_jax.store.files import write_atomic  # slow imports: --help must not wait for them

    if EXPORT.value and len(WORKDIR.value) > 1:
        raise ValueError(f"--export is the folder of one study, but {len(WORKDIR.value)} workdirs are given")
    if EXPORT.value and UNFINISHED.value:
        raise ValueError("--export takes a finished study: its folder could not be continued")
    reports = []
    for workdir in WORKDIR.value:
        reports.append((workdir, build(workdir, shading=SHADING.value, unfinished=UNFINISHED.value)))
        print(publish(reports[-1][1], workdir, export=EXPORT.value))
    if HTML.value:
        write_atomic(HTML.value, page(reports))
        print(f"Page: {HTML.value}")


if __name__ == "__main__":
    cli.run(main)
