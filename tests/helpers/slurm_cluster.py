"""A Slurm of this machine alone, in a temporary folder: two nodes of one core each, which are two daemons here.

The first node by name has the name of this machine, because processes of several nodes meet at the first one.
"""

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo", "squeue")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
KillWait=5
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName={host}-2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def missing():
    """Why there can be no Slurm here; "" if there can."""
    if os.getuid():
        return "its daemons are started as root"
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    return f"{absent[0]} is not installed (apt-get install slurm-wlm munge)" if absent else ""


@contextlib.contextmanager
def running(folder: Path):
    """Starts it; yields the environment in which its commands, such as sbatch, find it."""
    host = platform.node().partition(".")[0]
    nodes, key = (host, f"{host}-2"), folder / "munge.key"
    pids = [folder / f"{name}.pid" for name in (*nodes, "slurmctld", "munged")]
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name in ("state", *(f"spool-{node}" for node in nodes)):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=host, ports=_free_ports(3)))
    environment = {**os.environ, "SLURM_CONF": str(config), "PATH": f"{os.environ['PATH']}:/usr/sbin"}

    def run(*command):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert not done.returncode, (command, done.stdout, done.stderr)
        return done.stdout

    files = [f"--{name}={folder}/munge{end}" for name, end in (("socket", ".socket"), ("log-file", ".log"))]
    files += [f"--seed-file={folder}/munge.seed", f"--pid-file={pids[-1]}", f"--key-file={key}"]
    try:
        run("munged", "--force", *files)
        run("slurmctld", "-c")
        for node in nodes:
            run("slurmd", "-N", node)
        wait_for(lambda: run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", 60)
        try:
            yield environment
        finally:
            run("scancel", "--user=root")
            wait_for(lambda: not run("squeue", "-h"), 60)
    finally:
        for path in pids:
            if path.exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signal.SIGTERM)


def wait_for(condition, seconds):
    """Returns what `condition` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    return found


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
