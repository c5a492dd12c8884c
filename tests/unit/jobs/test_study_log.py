"""A person sees phases, what runs, how long it still takes, and every failure; not what Snakemake says of itself."""

import re
import subprocess
import sys

import pytest

from adamolmo.jobs.study_log import Pace

SNAKEFILE = """
rule all:
    input: expand("made/{i}", i=range(5))

rule evaluate:
    output: "made/{i}"
    log: "logs/evaluation/{i}.log"
    message: "Evaluate cell {wildcards.i}"
    shell: "if [ {wildcards.i} = {config[breaks]} ]; then echo 'error: so it is' > {log}; exit 1; fi; touch {output}"
"""


@pytest.fixture
def study(tmp_path):
    def run(*arguments: str, breaks: int = -1) -> subprocess.CompletedProcess:
        (tmp_path / "Snakefile").write_text(SNAKEFILE)
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "adamolmo", "--show-failed-logs"]
        config = ["--config", f"breaks={breaks}"]
        return subprocess.run(
            [*command, *arguments, *config], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    return run


def test_every_job_is_one_line_with_its_phase_and_the_time_left(study):
    lines = study().stderr.splitlines()
    assert lines[0] == "6 jobs to do: 5 evaluate"
    jobs = [line for line in lines if "Evaluate cell" in line]
    assert len(jobs) == 5
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[0/6\] evaluation: Evaluate cell \d", jobs[0])
    assert all(re.search(r"\[\d/6, about \d+ s left\] evaluation: ", line) for line in jobs[1:])
    assert any(re.search(r"\[6/6\] done in \d+ s", line) for line in lines)
    assert not re.search("Reason|Select jobs|jobid", "\n".join(lines))
    assert any(line.startswith("Complete log") for line in lines)


def test_a_failed_job_is_named_with_its_log_and_without_its_command(study):
    run = study("--keep-going", breaks=3)
    assert run.returncode != 0
    assert re.search(r"failed: evaluation: Evaluate cell 3; its log: logs/evaluation/3.log", run.stderr)
    assert "error: so it is" in run.stderr
    assert "exit 1; fi" not in run.stderr
    assert run.stderr.count("failed: ") == 1


def test_a_study_that_is_complete_says_so_and_a_dry_run_tells_everything(study):
    assert "Reason: " in study("--dry-run").stdout
    study()
    assert "Nothing to be done" in study().stderr


def test_the_time_left_is_that_of_unfinished_jobs_by_rule():
    pace = Pace({"core_exp": 2, "evaluate": 4}, start_s=100.0)
    assert pace.left_s(100.0) is None
    pace.start(1, "core_exp", 100.0)
    assert pace.left_s(110.0) is None
    pace.finish(1, 160.0)
    assert pace.left_s(160.0) == pytest.approx(60 + 4 * 60)  # what no job of its rule has shown takes as long as others
    pace.start(2, "evaluate", 160.0)
    pace.finish(2, 170.0)
    assert pace.left_s(170.0) == pytest.approx(60 + 3 * 10)
    pace.start(3, "core_exp", 170.0)
    assert pace.left_s(190.0) == pytest.approx(40 + 3 * 10)


def test_jobs_that_run_side_by_side_take_less_of_the_time_left():
    pace = Pace({"evaluate": 8}, start_s=0.0)
    for job in (1, 2):
        pace.start(job, "evaluate", 0.0)
    for job in (1, 2):
        pace.finish(job, 10.0)
    assert pace.left_s(10.0) == pytest.approx(6 * 10 / 2)
