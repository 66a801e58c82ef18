"""Should I add a classification loss to my regression? Answers for a table, with evidence, in minutes.

python launch/advise.py --data=table.csv --target=COLUMN --workdir=runs/own [--group=COLUMN] [--drop=COLUMN]
python launch/advise.py --data=features.npz --workdir=runs/features        # arrays x [n, D] and y [n]

A killed run continues with the same command; started several times, it shares the work.
"""

from pathlib import Path

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

DATA = define_path("data", None, "Table (.csv, .tsv, .parquet) or features (.npz with x and y).", required=True)
TARGET = flags.DEFINE_list("target", [], "Column(s) to predict; several (a,b) are answered one by one.")
GROUP = flags.DEFINE_string("group", "", "Column whose equal values stay in one fold (a person, a place), no input.")
DROP = flags.DEFINE_multi_string("drop", [], "Column that is left out; give it once per column.")
WORKDIR = define_path(
    "workdir", None, "Folder of the results; made, or continued if it holds this study.", required=True
)
FOLDS = flags.DEFINE_integer(
    "folds", None, "Folds of the cross-validation; by default the config's, or 5.", lower_bound=2
)
REPETITIONS = flags.DEFINE_integer("repetitions", None, "How often it is repeated; by default by rows.", lower_bound=1)
HTML = define_path("html", None, "File of the page; by default <workdir>/report.html.")
CONFIG = cli.define_config("What is compared.", default=str(Path(__file__).parents[1] / "configs" / "own.py"))
DEVICES = flags.DEFINE_integer("devices", None, "Simulated CPU devices; one per core by default.", lower_bound=1)
PLATFORM = cli.define_platform()


def main() -> None:
    from regcls_jax.advice import fill_in
    from regcls_jax.study.runs import ARM_FIELDS, expand  # slow imports: --help must not wait for them

    given = {"path": DATA.value, "target": tuple(TARGET.value), "group": GROUP.value, "drop": tuple(DROP.value)}
    asked = {name: flag.value for name, flag in (("folds", FOLDS), ("repetitions", REPETITIONS)) if flag.value}
    config, said = fill_in(CONFIG.read(ARM_FIELDS), given, asked)
    expand(config)  # a mistake in it ends here, before JAX starts
    print(said)

    from regcls_jax import devices
    from regcls_jax.study.engine import run_study

    print(devices.start(PLATFORM.value, DEVICES.value), flush=True)
    run_study(config, WORKDIR.value, cli.CACHE_DIR, command=cli.command())

    from regcls_jax.report.build import build, publish  # here, because figures take memory that the trainings may need
    from regcls_jax.report.page import page
    from regcls_jax.store.files import write_atomic

    report = build(WORKDIR.value)
    print(publish(report, WORKDIR.value))
    path = HTML.value or f"{WORKDIR.value}/report.html"
    write_atomic(path, page([(WORKDIR.value, report)], title="Should you add a classification loss?"))
    print(f"Page: {path}")


if __name__ == "__main__":
    cli.run(main)
