"""What a person reads while a study runs: one line per job with its phase and about how long the study still takes, and
everything that went wrong. The complete log, with every reason, stays in `.snakemake/log`.

Snakemake loads this as a logger plugin, by `logger: adamolmo` in a profile or `--logger adamolmo`.
"""

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from snakemake.logging import DefaultFilter, DefaultFormatter, show_logs
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

# Snakemake says these of every study and every job; they tell a person nothing.
_IDLE_WORDS = (
    "Assuming unrestricted shared filesystem",
    "Building DAG of jobs",
    "Using profile",
    "Using shell",
    "Select jobs to execute",
    "Execute ",
)
_SILENT = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.JOB_STARTED,
    LogEvent.PROGRESS,
    LogEvent.SHELLCMD,
    LogEvent.RESOURCES_INFO,
    LogEvent.DEBUG_DAG,
    LogEvent.RULEGRAPH,
}


@dataclass
class Pace:
    """How a run gets on.

    Attributes:
        planned: jobs of each rule.
        running: job -> its rule, and when it started, in seconds of any clock.
        taken_s: how long the finished jobs of each rule took.
    """

    planned: Mapping[str, int]
    start_s: float
    running: dict[int, tuple[str, float]] = field(default_factory=dict)
    taken_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.planned.values())

    @property
    def finished(self) -> int:
        return sum(map(len, self.taken_s.values()))

    def start(self, job: int, rule: str, now_s: float) -> None:
        self.running[job] = (rule, now_s)

    def finish(self, job: int, now_s: float) -> None:
        if job in self.running:
            rule, started_s = self.running.pop(job)
            self.taken_s.setdefault(rule, []).append(now_s - started_s)

    def left_s(self, now_s: float) -> float | None:
        """Every job still takes as long as finished ones of its rule did, or of all rules; as many run side by side as
        did so far. None before any has finished."""
        if not self.finished or now_s <= self.start_s:
            return None
        spent_s = sum(map(sum, self.taken_s.values()))
        mean_s = {rule: sum(taken) / len(taken) for rule, taken in self.taken_s.items()}
        usual_s = spent_s / self.finished
        work_s = sum(
            (count - len(self.taken_s.get(rule, ()))) * mean_s.get(rule, usual_s)
            for rule, count in self.planned.items()
        )
        under_way_s = sum(now_s - started_s for _, started_s in self.running.values())
        side_by_side = max(1.0, (spent_s + under_way_s) / (now_s - self.start_s))
        return max(0.0, work_s - under_way_s) / side_by_side


class LogHandler(LogHandlerBase):
    """To the standard error, as Snakemake's own; a dry run and `--verbose` are shown as Snakemake shows them."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        common = self.common_settings
        quiet = common.quiet or ()
        self.setFormatter(DefaultFormatter(quiet, common.show_failed_logs))
        self.addFilter(DefaultFilter(quiet, common.debug_dag, common.verbose, common.dryrun, common.printshellcmds))
        self._stream = sys.stdout if common.stdout else sys.stderr
        self._in_full = common.dryrun or common.verbose or common.debug_dag or common.printshellcmds
        self._pace = Pace({}, time.monotonic())
        self._named: dict[int, str] = {}  # jobs as they were announced

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if line := self.format(record) if self._in_full else self._brief(record):
                print(line, file=self._stream, flush=True)
        except BrokenPipeError:
            raise
        except Exception:  # noqa: BLE001 (as logging does: a line that cannot be written stops no study)
            self.handleError(record)

    def _brief(self, record: logging.LogRecord) -> str | None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            return self._plan(record.stats)
        if event == LogEvent.JOB_INFO:
            return self._started(record)
        if event == LogEvent.JOB_FINISHED:
            return self._finished(record.job_id)
        if event == LogEvent.JOB_ERROR:
            return self._failed(record)
        if event in _SILENT or _repeats_a_failure(record):
            return None
        text = self.format(record)
        if event is None and record.levelno < logging.WARNING and (not text or text.startswith(_IDLE_WORDS)):
            return None
        return text

    def _plan(self, stats: Mapping[str, int]) -> str:
        planned = {rule: count for rule, count in stats.items() if rule != "total"}
        self._pace = Pace(planned, time.monotonic())
        of_rules = ", ".join(f"{count} {rule}" for rule, count in planned.items() if rule != "all")
        return f"{_jobs(self._pace.total)} to do: {of_rules}"

    def _started(self, record: logging.LogRecord) -> str:
        phase, message = _phase(record.log), record.rule_msg or record.rule_name
        self._named[record.jobid] = f"{phase}: {message}" if phase else message
        now_s, pace = time.monotonic(), self._pace
        pace.start(record.jobid, record.rule_name, now_s)
        left_s = pace.left_s(now_s)
        left = "" if left_s is None else f", about {_duration(left_s)} left"
        return f"{datetime.now():%H:%M:%S} [{pace.finished}/{pace.total}{left}] {self._named[record.jobid]}"

    def _failed(self, record: logging.LogRecord) -> str:
        files = [path for path in record.log or () if Path(path).is_file()]
        told = [record.rule_msg] if record.rule_msg else []  # what a cluster says of it
        told += [f"its log: {', '.join(files)}"] if files else []
        told += [f"{key.replace('_', ' ')}: {value}" for key, value in (record.aux or {}).items()]
        named = self._named.get(record.jobid, record.rule_name)
        line = "; ".join([f"{datetime.now():%H:%M:%S} failed: {named}", *told])
        return "\n".join([line, *(show_logs(files) if self.common_settings.show_failed_logs else ())])

    def _finished(self, job: int) -> str | None:
        now_s, pace = time.monotonic(), self._pace
        pace.finish(job, now_s)
        if pace.finished < pace.total:
            return None
        return f"{datetime.now():%H:%M:%S} [{pace.finished}/{pace.total}] done in {_duration(now_s - pace.start_s)}"


def _repeats_a_failure(record: logging.LogRecord) -> bool:
    """Snakemake tells of a failed job twice, first with the whole of its command."""
    return getattr(record, "event", None) == LogEvent.ERROR and "CalledProcessError" in str(record.msg)


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def _phase(logs: list[str]) -> str | None:
    """Jobs log into a folder of their phase, logs/{phase}/..., or where it has one job into logs/{phase}.log."""
    parts = Path(logs[0]).parts if logs else ()
    return Path(parts[1]).stem if len(parts) > 1 and parts[0] == "logs" else None


def _duration(seconds: float) -> str:
    """'40 s', '7 min', '3 h 20 min'"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(timedelta(seconds=seconds) / timedelta(minutes=1))
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
