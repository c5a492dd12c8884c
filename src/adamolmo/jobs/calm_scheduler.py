"""Keeps Snakemake's scheduler from looking for work ever more often while requests are timed beside it.

Snakemake (9.27.1) limits how many jobs it starts per second, which cannot be switched off. For that limit it looks for
jobs to start once more, a second after every look. Every job that ends makes it look as well, and that look, too, is
repeated for ever: after some hundred jobs it looks some hundred times a second, which takes most of a core of the
machine on which cells are measured. One repetition serves all.
"""

from threading import Timer
from typing import Any

from snakemake.scheduling.job_scheduler import JobScheduler


def calm_scheduler() -> None:
    """For every workflow that this process runs from now on."""
    JobScheduler._schedule_reevalutation = look_again_once


def look_again_once(scheduler: Any, delay: float) -> None:
    """Makes Snakemake's scheduler look again after `delay` seconds, unless it is going to look again anyway."""
    if getattr(scheduler, "will_look_again", False):
        return
    scheduler.will_look_again = True

    def look() -> None:
        scheduler.will_look_again = False
        scheduler._open_jobs.release()

    Timer(delay, look).start()
