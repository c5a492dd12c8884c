"""The Snakemake that started a job, and whether it still runs.

A job whose Snakemake was killed goes on by itself. By the time it ends, another Snakemake may have made the same file,
perhaps with other settings, so it must not write then.
"""

import os
from pathlib import Path

# Set by the Snakefile for its jobs, unset elsewhere.
LAUNCHER = "ADAMOLMO_LAUNCHER"


def launcher() -> str:
    """This process, to be left in the environment of its jobs under LAUNCHER."""
    return _identity(os.getpid())


def launcher_is_gone() -> bool:
    """Whether the Snakemake that started this job has ended; always False elsewhere, and without /proc."""
    known = os.environ.get(LAUNCHER)
    return known is not None and _identity(int(known.split("-")[0])) != known


def _identity(pid: int) -> str:
    """Number and start time of a running process: the number alone may belong to another one later."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return str(pid)
    state, start = fields[0], fields[19]
    return str(pid) if state in "ZX" else f"{pid}-{start}"
