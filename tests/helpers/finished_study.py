"""One finished miniature study for the tests that need what a study makes."""

import fcntl

import pytest
from mini_study import ROOT, Study


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
