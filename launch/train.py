"""Trains networks on images: every arm and seed of a config, on all devices. Continues where it was stopped.

python launch/train.py --config=configs/utkface.py:quick --workdir=runs/utkface-quick
"""

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

CONFIG = cli.define_config("The trainings: configs/<name>.py[:variant].")
WORKDIR = define_path("workdir", None, "Folder of the results: <workdir>/<arm>/seed<k>.", required=True)
DATA_DIR = define_path("data_dir", cli.PREPARED_DIR, "Folder that launch/prepare.py wrote to.")
DEVICES = flags.DEFINE_integer("devices", 1, "Simulated devices, on CPU only.", lower_bound=1)
SAVE_MINUTES = flags.DEFINE_float(
    "save_minutes", 10.0, "Time between checkpoints inside an epoch, on one host.", lower_bound=0.0
)
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One process per host: calls jax.distributed.initialize().")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0; found out on Slurm and TPU.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes; found out on Slurm and TPU.")
PROCESS = flags.DEFINE_integer("process", None, "This process; found out on Slurm and TPU.")
PLATFORM = cli.define_platform()
flags.mark_flag_as_required("config")


def main() -> None:
    # Heavy imports wait until the flags are known to be right.
    import jax

    from regcls_jax import devices
    from regcls_jax.loop.tasks import every_field, expand
    from regcls_jax.loop.trainings import train_all

    config = CONFIG.read(every_field())
    expand(config)  # a mistake in it ends here, before JAX starts

    def connect() -> None:
        jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)

    print(devices.start(PLATFORM.value, DEVICES.value, connect if DISTRIBUTED.value else None), flush=True)
    print(train_all(config, WORKDIR.value, DATA_DIR.value, command=cli.command(), save_minutes=SAVE_MINUTES.value))


if __name__ == "__main__":
    cli.run(main)
