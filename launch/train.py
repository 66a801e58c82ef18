"""Trains networks on images: every arm and seed of a config, on all devices. Continues where it was stopped.

python launch/train.py --config=configs/utkface.py:quick --workdir=runs/utkface-quick
"""

import sys

from absl import flags
from ml_collections import config_flags

from regcls_jax import cli

CONFIG = config_flags.DEFINE_config_file("config", None, "The trainings: configs/<name>.py[:variant].")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the results: <workdir>/<arm>/seed<k>.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", cli.PREPARED_DIR, "Folder that launch/prepare.py wrote to.")
DEVICES = flags.DEFINE_integer("devices", 1, "Simulated devices, on CPU only.", lower_bound=1)
SAVE_MINUTES = flags.DEFINE_float(
    "save_minutes", 10.0, "Time between checkpoints inside an epoch, on one host.", lower_bound=0.0
)
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One process per host: calls jax.distributed.initialize().")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0; found out on Slurm and TPU.")
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes; found out on Slurm and TPU.")
PROCESS = flags.DEFINE_integer("process", None, "This process; found out on Slurm and TPU.")
flags.mark_flag_as_required("config")


def main() -> None:
    config = CONFIG.value.to_dict()

    from regcls_jax.devices import configure_cpu

    configure_cpu(DEVICES.value)
    if DISTRIBUTED.value:
        import jax

        jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    from regcls_jax.loop.trainings import train_all

    command = " ".join(["python", *sys.argv])
    print(train_all(config, WORKDIR.value, DATA_DIR.value, command=command, save_minutes=SAVE_MINUTES.value))


if __name__ == "__main__":
    cli.run(main)
