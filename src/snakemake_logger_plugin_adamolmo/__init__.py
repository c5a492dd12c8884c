"""What Snakemake loads for `--logger adamolmo`, before it reads any configuration: the time to look at that."""

import sys

from adamolmo.jobs import study_log
from adamolmo.jobs.first_look import before_snakemake
from adamolmo.jobs.script import run


class LogHandler(study_log.LogHandler):
    def __post_init__(self) -> None:
        run(lambda: before_snakemake(sys.argv[1:]))
        super().__post_init__()
