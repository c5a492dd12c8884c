"""One finished miniature study for the tests that need what a study makes."""

import pytest
from mini_study import ROOT, Study
from shared_folder import shared_folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Study:
    """The whole miniature study, run once for all test processes; tests must not change it."""
    if not (ROOT / "resources/embedded/model.safetensors").is_file():
        pytest.skip("resources/embedded has no model.safetensors")
    with shared_folder("finished", tmp_path_factory, worker_id) as directory:
        study = Study(directory, directory) if directory.exists() else Study.clone(directory)
        result = study.snakemake()  # of a second process: nothing is left to do
    assert result.returncode == 0, result.output
    return study
