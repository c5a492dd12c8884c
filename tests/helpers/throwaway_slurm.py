"""A real Slurm on this machine while a test needs it: one node, two GPUs that are none, no root, no systemd."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol")
# Debian keeps the daemons where a normal user's PATH does not lead.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_SECONDS_TO_BOOT = 60

_SLURM_CONF = """
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=5
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=3600
DefMemPerCPU=512
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=262144 Gres=gpu:fake:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# Slurm only wants character devices; jobs that hold them get CUDA_VISIBLE_DEVICES 0 and 1.
_GRES_CONF = """
NodeName={host} Name=gpu Type=fake File=/dev/null
NodeName={host} Name=gpu Type=fake File=/dev/zero
"""
# The executor's job step loses SLURM_CONF, and with it this cluster.
_SRUN = """#!/bin/sh
SLURM_CONF={directory}/slurm.conf exec {srun} "$@"
"""


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program, path=SEARCH_PATH) is None]


@dataclass(frozen=True)
class Job:
    """What Slurm says of a job. `comment` holds the rule and its wildcards, `limit` is the time limit."""

    id: str
    state: str
    memory: str
    limit: str
    comment: str
    directory: str


class ThrowawaySlurm:
    """munged, slurmctld and slurmd of the present user, with files in a temporary directory and free ports."""

    def __init__(self) -> None:
        # Not below pytest's directory: the path of munge's socket may not be longer than 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.directory.chmod(0o755)
        for name in ("state", "spool", "bin"):
            (self.directory / name).mkdir()
        values = {"directory": self.directory, "host": socket.gethostname().partition(".")[0]}
        values |= {"user": _user(), "ports": _free_ports(2), "srun": shutil.which("srun", path=SEARCH_PATH)}
        self._write("slurm.conf", _SLURM_CONF.format(**values))
        self._write("gres.conf", _GRES_CONF.format(**values))
        self._write("bin/srun", _SRUN.format(**values)).chmod(0o755)
        key = self.directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        path = os.pathsep.join([str(self.directory / "bin"), SEARCH_PATH])
        self.environment = own | {"SLURM_CONF": str(self.directory / "slurm.conf"), "PATH": path}

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text.lstrip())
        return path

    def start(self) -> None:
        """Raises RuntimeError with the daemons' words if the node does not become idle."""
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        self._daemon("munged", "--force", *(f"--{name}={self.directory / file}" for name, file in files.items()))
        self._daemon("slurmctld")
        self._daemon("slurmd")
        end = time.monotonic() + _SECONDS_TO_BOOT
        while (state := self.query("sinfo", "--noheader", "--format=%T", check=False).strip()) != "idle":
            if time.monotonic() > end:
                raise RuntimeError(f"the node is '{state}' instead of idle.\n{self.logs()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends all jobs, then the daemons, and removes their files."""
        self.query("scancel", "--user", _user(), check=False)
        end = time.monotonic() + _SECONDS_TO_BOOT
        while self.query("squeue", "--noheader", check=False).strip() and time.monotonic() < end:
            time.sleep(0.1)
        for name in ("slurmd.pid", "slurmctld.pid", "munged.pid"):
            _end_process(self.directory / name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def jobs(self) -> list[Job]:
        """All jobs since the start, ended ones too, oldest first."""
        form = "--format=%i|%T|%m|%l|%k|%Z"
        lines = self.query("squeue", "--noheader", "--states=all", "--array", "--sort=i", form).splitlines()
        return [Job(*line.split("|")) for line in lines]

    def record(self) -> str:
        """Which Slurm ran which jobs, in one line."""
        ids: dict[str, list[str]] = {}
        for job in self.jobs():
            ids.setdefault(job.state, []).append(job.id)
        jobs = "; ".join(f"{state} {', '.join(numbers)}" for state, numbers in sorted(ids.items()))
        return f"{self.query('sinfo', '--version').strip()}, job ids: {jobs}"

    def query(self, *command: str, check: bool = True) -> str:
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if check and run.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {run.stderr}\n{self.logs()}")
        return run.stdout

    def logs(self) -> str:
        """The last lines of each daemon's log."""
        return "\n".join(
            f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-10:])
            for path in sorted(self.directory.glob("*.log"))
        )

    def _daemon(self, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=SEARCH_PATH)
        run = subprocess.run([found, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise RuntimeError(f"{program} does not start: {run.stderr or run.stdout}\n{self.logs()}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _end_process(pid_file: Path) -> None:
    """Ends the process of a pid file and waits until it is gone."""
    if not pid_file.is_file():
        return
    pid = int(pid_file.read_text())
    for _ in range(100):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
