"""Studies that a test may change, and faults that are tried several times."""

from collections import Counter
from pathlib import Path

import pytest
from mini_study import Study


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
