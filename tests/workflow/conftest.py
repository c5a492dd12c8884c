"""One finished miniature study for all tests of the workflow."""

import fcntl
from collections import Counter
from pathlib import Path

import pytest
from mini_study import ROOT, Study


def pytest_addoption(parser):
    parser.addoption(
        "--repetitions", type=int, default=1, help="of every test of a fault, each at other random moments"
    )


def pytest_generate_tests(metafunc):
    if "repetition" in metafunc.fixturenames:
        metafunc.parametrize("repetition", range(metafunc.config.getoption("--repetitions", 1)))


def pytest_terminal_summary(terminalreporter):
    """With --repetitions, how often each fault was tried and how often something was lost."""
    if terminalreporter.config.getoption("--repetitions", 1) == 1:
        return
    outcomes = Counter(
        (report.nodeid.split("::")[-1].split("[")[0], report.outcome)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
    )
    for test in dict.fromkeys(name for name, _ in outcomes):
        tried = sum(count for (name, outcome), count in outcomes.items() if name == test and outcome != "skipped")
        terminalreporter.write_line(f"{test}: {tried} repetitions, {outcomes[test, 'failed']} failed")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Study:
    """The whole miniature study, run once for all test processes; tests must not change it."""
    if not (ROOT / "resources/embedded/model.safetensors").is_file():
        pytest.skip("resources/embedded has no model.safetensors")
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = shared / "finished"
        study = Study(directory, directory) if directory.exists() else Study.clone(directory)
        result = study.snakemake()  # of a second process: nothing is left to do
    assert result.returncode == 0, result.output
    return study


@pytest.fixture
def study(finished, tmp_path) -> Study:
    """A copy of the finished study that a test may change."""
    return finished.copy(tmp_path / "study")


@pytest.fixture
def clone(tmp_path) -> Study:
    """The repository before anything has run."""
    return Study.clone(tmp_path / "clone")


@pytest.fixture
def config(tmp_path):
    """Writes a configuration file with the given text."""

    def write(text: str) -> Path:
        path = tmp_path / "changed.yaml"
        path.write_text(text)
        return path

    return write
