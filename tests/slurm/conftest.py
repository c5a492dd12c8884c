"""One throw-away Slurm for all tests of this folder, and the workflows that they look at, run once."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mini_study import ROOT, Result, Study
from submission import CONFIGS, FIGURE, Submission, install_profiles, submit
from throwaway_slurm import ThrowawaySlurm, missing_programs

RECORD = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter, config) -> None:
    if RECORD in config.stash:
        terminalreporter.write_line(config.stash[RECORD])


@pytest.fixture(scope="session")
def slurm(pytestconfig) -> Iterator[ThrowawaySlurm]:
    if missing := missing_programs():
        packages = "slurmctld slurmd slurm-client munge"
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}; Debian's packages are {packages}")
    cluster = ThrowawaySlurm()
    try:
        cluster.start()
        yield cluster
        pytestconfig.stash[RECORD] = cluster.record()
    finally:
        cluster.stop()


@dataclass(frozen=True)
class Workflows:
    """Submitted together, because Snakemake mostly waits for Slurm.

    Attributes:
        jobs: directory of the jobs that do nothing (jobs.smk).
        study: the study in miniature on the cluster.
        here: the same study, finished on this machine.
    """

    jobs: Path
    study: Study
    here: Study
    submitted_jobs: Submission
    submitted_study: Submission


@pytest.fixture(scope="session")
def workflows(slurm, tmp_path_factory) -> Iterator[Workflows]:
    if not (ROOT / "resources/embedded/model.safetensors").is_file():
        pytest.skip("resources/embedded has no model.safetensors")
    study, here = (Study.clone(tmp_path_factory.mktemp(name)) for name in ("cluster", "here"))
    jobs = tmp_path_factory.mktemp("jobs")
    install_profiles(jobs)
    shutil.copy(Path(__file__).with_name("jobs.smk"), jobs / "Snakefile")
    submissions = [submit(slurm, jobs), submit(slurm, study.directory, "--configfile", *CONFIGS, "--", FIGURE)]
    try:
        local = here.snakemake("--", FIGURE, configs=CONFIGS[1:])
        assert local.returncode == 0, local.output
        yield Workflows(jobs, study, here, *submissions)
    finally:
        for submission in submissions:
            submission.send(signal.SIGKILL)


@pytest.fixture(scope="session")
def jobs_result(workflows) -> Result:
    return workflows.submitted_jobs.wait()


@pytest.fixture(scope="session")
def study_result(workflows) -> Result:
    result = workflows.submitted_study.wait()
    assert result.returncode == 0, result.output
    return result
