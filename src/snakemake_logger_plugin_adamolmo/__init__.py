"""Where Snakemake looks for what `--logger adamolmo` means."""

from adamolmo.jobs.study_log import LogHandler

__all__ = ["LogHandler"]
