"""Snakemake on the login node of a throw-away Slurm, with the committed profile."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mini_study import MINI, ROOT, Result
from throwaway_slurm import ThrowawaySlurm

# Snakemake as its command line runs it; its last line says whether this process, not its jobs, needed torch.
SNAKEMAKE = """
import atexit, sys
atexit.register(lambda: print("torch was", "imported" if "torch" in sys.modules else "not imported"))
from snakemake.cli import main
main()
"""
CONFIGS = (MINI, ROOT / "tests/slurm/mini.yaml")
FIGURE = "results/plots/pareto.pdf"
WITHOUT_TORCH = "torch was not imported"
# A hanging Snakemake fails the test; no test expects a time.
_LIMIT_S = 1200


@dataclass(frozen=True)
class Submission:
    """A Snakemake that runs in the background, its output in a file."""

    process: subprocess.Popen
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> Result:
        try:
            returncode = self.process.wait(_LIMIT_S)
        finally:
            self.send(signal.SIGKILL)
        return Result(returncode, self.output)

    def send(self, number: signal.Signals) -> None:
        """To Snakemake and all that it started, as a terminal does it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def install_profiles(directory: Path) -> None:
    for name in ("slurm", "profiles"):
        shutil.copytree(ROOT / name, directory / name, dirs_exist_ok=True)


def submit(slurm: ThrowawaySlurm, directory: Path, *arguments: str | Path) -> Submission:
    """`snakemake --profile slurm` in `directory`; only the waits are shorter than on a real cluster."""
    command = [sys.executable, "-c", SNAKEMAKE, "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "2"]
    log = directory / "snakemake.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=directory,
            env={name: value for name, value in slurm.environment.items() if not name.startswith("PYTHON")},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_listen_to_interrupts,
        )
    return Submission(process, log)


def _listen_to_interrupts() -> None:
    """A shell's background processes ignore ctrl-c, and so would theirs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until it holds."""
    end = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)
