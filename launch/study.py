"""Runs a 1-D study: every training of a config, then its report. Continues where it was stopped.

python launch/study.py --config=configs/fig3.py:quick --workdir=runs/fig3-quick

Started several times, on one machine or on many that share the workdir (an array job), the same command divides the
work; each ends when all of it is done.
"""

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

CONFIG = cli.define_config("The study: configs/<name>.py[:variant].")
WORKDIR = define_path("workdir", None, "Folder of the results; made, or continued if it holds this study.")
CACHE_DIR = define_path(
    "cache_dir",
    cli.CACHE_DIR,
    "Folder of the generated data sets (1 MB each), shared by all studies.",
)
DEVICES = flags.DEFINE_integer("devices", None, "Simulated CPU devices; one per core by default.", lower_bound=1)
PLATFORM = cli.define_platform()
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
    # Heavy imports wait until the flags are known to be right.
    from regcls_jax import devices
    from regcls_jax.study.engine import run_study
    from regcls_jax.study.runs import ARM_FIELDS, expand

    config = CONFIG.read(ARM_FIELDS)
    expand(config)  # a mistake in it ends here, before JAX starts
    print(devices.start(PLATFORM.value, DEVICES.value), flush=True)
    trained = run_study(config, WORKDIR.value, CACHE_DIR.value, command=cli.command())
    print(f"{trained} trainings done now." if trained else "All trainings were done before.")

    from regcls_jax.report.build import report  # here, because figures take memory that the trainings may need

    print(report(WORKDIR.value))


if __name__ == "__main__":
    cli.run(main)
