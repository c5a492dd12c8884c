"""One throw-away Slurm for all tests of this folder."""

import importlib.util
from collections.abc import Iterator

import pytest
from throwaway_slurm import ThrowawaySlurm, missing_programs


@pytest.fixture(scope="session")
def executor() -> None:
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("Snakemake's executor for Slurm is not installed; `make test-slurm` installs it")


@pytest.fixture(scope="session")
def slurm(executor) -> Iterator[ThrowawaySlurm]:
    if missing := missing_programs():
        packages = "slurmctld slurmd slurm-client munge"
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}; Debian's packages are {packages}")
    cluster = ThrowawaySlurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
