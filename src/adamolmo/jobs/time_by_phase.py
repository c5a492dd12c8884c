"""Where the time of a finished study went: seconds of its jobs by phase, from Snakemake's own records.

    python -m adamolmo.jobs.time_by_phase          # in the folder where the study ran

Prints a Markdown table. A job's time is that of the clock, from its start by Snakemake until its last result is
written, with its wait for a free device. Of a result that was made more than once the last time counts.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.script import run

_LEAST_SHARE = 0.01  # of all time; below it, a rule is not named


class _Record(BaseModel):
    """What Snakemake notes of one result."""

    rule: str
    log: list[str]
    starttime: float
    endtime: float


@dataclass(frozen=True)
class Job:
    """One that is finished."""

    phase: str
    rule: str
    seconds: float


def finished_jobs(study: Path) -> list[Job]:
    """In the order of their starts; `study` is the folder where the study ran. Raises AdaMolmoError."""
    records = defaultdict(list)
    for path in (study / ".snakemake" / "metadata").glob("*"):
        try:
            record = _Record.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise AdaMolmoError(
                f"{path}: is no record of a finished job ({error.errors()[0]['msg']}); expected what Snakemake writes."
            ) from error
        if record.log:
            records[record.rule, *record.log].append(record)  # no two jobs share a log
    if not records:
        raise AdaMolmoError(f"{study}: Snakemake has no records of finished jobs here; expected a study's folder.")
    started = sorted(records.values(), key=lambda results: min(result.starttime for result in results))
    return [_job(results) for results in started]


def _job(results: list[_Record]) -> Job:
    """Of the job that made these."""
    seconds = max(result.endtime for result in results) - min(result.starttime for result in results)
    phase = Path(Path(results[0].log[0]).parts[1]).stem  # logs/{phase}/... or logs/{phase}.log
    return Job(phase, results[0].rule, seconds)


def table(jobs: Iterable[Job]) -> str:
    """Markdown: one row per phase, in the order of their first jobs, with the rules that matter."""
    phases = defaultdict(list)
    for job in jobs:
        phases[job.phase].append(job)
    total_s = sum(job.seconds for phase in phases.values() for job in phase)
    lines = ["| Phase | Jobs | Their time, s | Share | Of which, s |", "|---|---|---|---|---|"]
    for phase, members in phases.items():
        by_rule = defaultdict(float)
        for job in members:
            by_rule[job.rule] += job.seconds
        named = sorted((rule for rule in by_rule if by_rule[rule] >= _LEAST_SHARE * total_s), key=by_rule.get)
        rules = ", ".join(f"`{rule}` {by_rule[rule]:.0f}" for rule in reversed(named))
        seconds = sum(by_rule.values())
        lines.append(f"| {phase} | {len(members)} | {seconds:.0f} | {100 * seconds / total_s:.0f} % | {rules} |")
    lines.append(f"| all | {sum(map(len, phases.values()))} | {total_s:.0f} | 100 % | |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(lambda: print(table(finished_jobs(Path(*sys.argv[1:2])))))
