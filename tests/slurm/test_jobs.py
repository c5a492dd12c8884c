"""What the committed profile does to jobs, on a real Slurm: devices, retries, time limits, interruptions."""

import signal
from pathlib import Path

import pytest
from submission import eventually, submit
from throwaway_slurm import Job


@pytest.fixture(scope="module")
def directory(workflows) -> Path:
    return workflows.jobs


@pytest.fixture(scope="module")
def result(jobs_result):
    return jobs_result


def jobs_of(slurm, directory: Path) -> list[Job]:
    """Without those of the study, which may run at the same time."""
    return [job for job in slurm.jobs() if job.directory == str(directory)]


def of_rule(slurm, directory: Path, rule: str) -> list[Job]:
    return [job for job in jobs_of(slurm, directory) if job.comment == f"rule_{rule}"]


def test_gpu_jobs_never_share_a_device(result, directory):
    """And two run at once: else the first would have waited for the second until its time was over."""
    held = []
    for path in (directory / "gpu").iterdir():
        device, start, end = path.read_text().split()
        held.append((device, float(start), float(end)))
    assert len(held) == 4
    assert {device for device, _, _ in held} == {"0", "1"}
    for number in ("0", "1"):
        turns = sorted((start, end) for device, start, end in held if device == number)
        assert all(before[1] <= after[0] for before, after in zip(turns, turns[1:], strict=False))


def test_a_job_without_enough_memory_gets_more(slurm, result, directory):
    first, second = of_rule(slurm, directory, "evaluate")
    assert (first.state, first.memory, second.state, second.memory) == ("FAILED", "20000M", "COMPLETED", "40000M")
    assert (directory / "memory.txt").read_text() == "40000 MB\n"


def test_a_timed_out_job_is_detected_and_gets_more_time(slurm, result, directory):
    first, second = of_rule(slurm, directory, "within_a_minute")
    assert (first.state, first.limit, second.state, second.limit) == ("TIMEOUT", "1:00", "COMPLETED", "1:00:00")
    assert f"SLURM-job '{first.id}' failed, SLURM status is: 'TIMEOUT'" in result.output
    assert (directory / "time.txt").is_file()


def test_a_failing_job_is_retried_with_more_then_reported(slurm, result, directory):
    jobs = of_rule(slurm, directory, "summarise")
    assert [job.state for job in jobs] == 3 * ["FAILED"]
    assert [(job.memory, job.limit) for job in jobs] == [(f"{4000 * n}M", f"{n}:00:00") for n in (1, 2, 3)]
    assert result.returncode == 1
    assert "Error in rule summarise" in result.output
    assert "error: this job always fails" in result.output  # its log


def test_the_logs_of_failed_jobs_are_kept(slurm, result, directory):
    failed = {job.id for job in jobs_of(slurm, directory) if job.state in ("FAILED", "TIMEOUT")}
    assert len(failed) == 5
    assert {path.stem for path in (directory / "logs/slurm").rglob("*.log")} == failed


def states(slurm, directory: Path, before: int) -> list[str]:
    """Of the jobs submitted after the first `before`."""
    return sorted(job.state for job in jobs_of(slurm, directory)[before:])


@pytest.fixture
def occupied(slurm, directory, result):
    """Three jobs for two GPUs, which end as soon as the file `enough` exists."""
    targets = [f"occupied/{job}.txt" for job in range(3)]
    before = len(jobs_of(slurm, directory))
    running = submit(slurm, directory, *targets)
    eventually(lambda: states(slurm, directory, before) == ["PENDING", "RUNNING", "RUNNING"], "two of three jobs run")
    yield running, targets, before
    running.send(signal.SIGKILL)


def test_ctrl_c_cancels_the_jobs(slurm, directory, occupied):
    running, _, before = occupied
    running.send(signal.SIGINT)
    assert running.wait().returncode != 0
    eventually(lambda: states(slurm, directory, before) == 3 * ["CANCELLED"], "all jobs are cancelled")


def test_after_sigkill_as_documented(slurm, directory, occupied):
    """The jobs of a killed Snakemake go on; they are cancelled by its run's name, then the same command finishes."""
    running, targets, before = occupied
    running.send(signal.SIGKILL)
    assert running.wait().returncode == -signal.SIGKILL
    assert states(slurm, directory, before) == ["PENDING", "RUNNING", "RUNNING"]
    run = running.output.split("SLURM run ID: ")[1].split()[0]
    slurm.query("scancel", "--name", run)
    eventually(lambda: states(slurm, directory, before) == 3 * ["CANCELLED"], "all jobs are cancelled")
    (directory / "enough").touch()
    assert submit(slurm, directory, "--unlock").wait().returncode == 0
    again = submit(slurm, directory, *targets).wait()
    assert again.returncode == 0, again.output
    assert states(slurm, directory, before) == 3 * ["CANCELLED"] + 3 * ["COMPLETED"]
    assert [(directory / target).read_text() for target in targets] == ["0\n", "1\n", "2\n"]
