"""The Snakemake that started a job, and whether it still runs.

A job whose Snakemake was killed goes on by itself. By the time it ends, another Snakemake may have made the same file,
perhaps with other settings, so it must not write then.
"""

import os
from pathlib import Path

# Set by the Snakefile for its jobs, unset elsewhere.
LAUNCHER = "ADAMOLMO_LAUNCHER"


def launcher(pid: int) -> str:
    """Number and start time of a running process, as LAUNCHER has them: the number alone may be another's later.

    A process that has ended, and any one where there is no /proc, is its number alone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return str(pid)
    state, start = fields[0], fields[19]
    return str(pid) if state in "ZX" else f"{pid}-{start}"


def own_launcher() -> str | None:
    """The Snakemake that started this job; None outside of a job."""
    return os.environ.get(LAUNCHER)


def launcher_is_gone() -> bool:
    """Whether the Snakemake that started this job has ended; always False outside of a job, and without /proc."""
    known = own_launcher()
    return known is not None and launcher(int(known.split("-")[0])) != known
