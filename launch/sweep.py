"""Trains configs by several tasks that share the work: an array on a Slurm cluster, or processes of this machine.

python launch/sweep.py --slurm --tasks=8 --cpus=4 --workdir=runs/fig3 --config=configs/fig3.py
python launch/sweep.py --slurm --tasks=2 --gpus=1 --workdir=runs/faces --config=configs/utkface.py --watch
python launch/sweep.py --cluster=local --tasks=2 --workdir=runs/both --config=configs/fig4.py --config=configs/tab1.py
python launch/sweep.py --watch --workdir=runs/fig3                           # how far it is

Studies and trainings of images are told apart by their configs. Tasks that Slurm preempts, or ends by their time
limit, are requeued and go on; the same command again starts what is missing. docs/guides/clusters.md has the rest.
"""

from pathlib import Path

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

CONFIGS = cli.define_configs("What is trained: configs/<name>.py[:variant], of studies and trainings; several, too.")
WORKDIR = define_path("workdir", None, "Folder of the results; of several configs, one below it each.", required=True)
SLURM = flags.DEFINE_bool("slurm", False, "Submit to Slurm: short for --cluster=slurm.")
CLUSTER = flags.DEFINE_enum("cluster", None, ["slurm", "local"], "Where the tasks run: local is this machine.")
WATCH = flags.DEFINE_bool("watch", False, "Show one line of progress until all is done; alone, of what runs already.")
TASKS = flags.DEFINE_integer("tasks", 1, "How many share the work: the size of the array.", lower_bound=1)
CPUS = flags.DEFINE_integer("cpus", 1, "Cores of a task; a study on CPU trains on so many devices.", lower_bound=1)
GPUS = flags.DEFINE_integer("gpus", 0, "GPUs of a task, on each of its nodes.", lower_bound=0)
NODES = flags.DEFINE_integer("nodes", 1, "Hosts that one training is spread over.", lower_bound=1)
MEMORY = flags.DEFINE_float("memory", 0, "GB on each node of a task; 0: the cluster's default.", lower_bound=0)
MINUTES = flags.DEFINE_integer("minutes", 240, "Time limit of a task on Slurm, which is then requeued.", lower_bound=10)
SBATCH = flags.DEFINE_multi_string("sbatch", [], "Further option of sbatch: partition=gpu, account=me, exclusive.")
CACHE_DIR = define_path("cache_dir", None, "Folder of generated data sets, as of launch/study.py.")
DATA_DIR = define_path("data_dir", None, "Folder of prepared data sets, as of launch/train.py.")
PLATFORM = cli.define_platform()


def main() -> None:
    cluster = _cluster()
    # Heavy imports wait until the flags are known to be right.
    from regcls_jax.sweep.start import start, watch
    from regcls_jax.sweep.submit import Request, sbatch_options

    workdir = Path(WORKDIR.value)
    if cluster is None:
        print(watch(workdir))
        return
    options = {"cache_dir": CACHE_DIR.value, "data_dir": DATA_DIR.value, "platform": PLATFORM.value}
    request = Request(
        cluster=cluster,
        tasks=TASKS.value,
        nodes=NODES.value,
        cpus=CPUS.value,
        gpus=GPUS.value,
        memory=MEMORY.value,
        minutes=MINUTES.value,
        sbatch=sbatch_options(SBATCH.value),
        options={name: value for name, value in options.items() if value not in (None, "any")},
    )
    programs = Path(__file__).resolve().parent
    print(start(CONFIGS.value or [], CONFIGS.changes, workdir, request, programs), flush=True)
    if WATCH.value and cluster == "slurm":
        print(watch(workdir))


def _cluster() -> str | None:
    """Where the tasks run; None to watch alone."""
    if SLURM.value and CLUSTER.value == "local":
        raise ValueError("--slurm and --cluster=local exclude each other")
    cluster = "slurm" if SLURM.value else CLUSTER.value
    if cluster and not CONFIGS.value:
        raise ValueError("give --config, what is to be trained")
    if not cluster and not WATCH.value:
        raise ValueError("say where to train, --slurm or --cluster=local; or --watch what is trained already")
    if not cluster and CONFIGS.value:
        raise ValueError("--watch looks at a workdir; with --config give --slurm or --cluster=local, too")
    return cluster


if __name__ == "__main__":
    cli.run(main)
