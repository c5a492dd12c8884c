"""What Snakemake loads for `--logger adamolmo`, before it reads any configuration: the time to look at that."""

from adamolmo.jobs import study_log
from adamolmo.jobs.first_look import exit_if_refused


class LogHandler(study_log.LogHandler):
    def __post_init__(self) -> None:
        exit_if_refused()
        super().__post_init__()
