"""The study in miniature through a real Slurm and the committed profile: what one machine makes, to the byte."""

from pathlib import Path

import pytest
from mini_study import MINI, ROOT, Study
from submission import WITHOUT_TORCH, submit

CONFIGS = (MINI, ROOT / "tests/slurm/mini.yaml")
FIGURE = "results/plots/pareto.pdf"
TABLES = (".parquet", ".json", ".safetensors")


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Study:
    return Study.clone(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def cluster(slurm, here, tmp_path_factory):
    """(study, result) of the same study on the cluster; meanwhile it runs here as well."""
    if not (ROOT / "resources/embedded/model.safetensors").is_file():
        pytest.skip("resources/embedded has no model.safetensors")
    study = Study.clone(tmp_path_factory.mktemp("cluster"))
    submission = submit(slurm, study.directory, "--configfile", *CONFIGS, "--", FIGURE)
    local = here.snakemake("--", FIGURE, configs=CONFIGS[1:])
    result = submission.wait()
    assert local.returncode == 0, local.output
    assert result.returncode == 0, result.output
    return study, result


def cells(study: Study) -> dict[str, bytes]:
    paths = study.path("results/eval").rglob("*.*")
    return {str(path.relative_to(study.directory)): path.read_bytes() for path in paths}


def test_the_tables_are_the_same(here, cluster):
    study, _ = cluster
    made = [path.relative_to(here.directory) for path in here.path("results").rglob("*") if path.suffix in TABLES]
    assert len(made) > 20
    assert [str(name) for name in made if here.path(name).read_bytes() != study.path(name).read_bytes()] == []
    assert study.path(FIGURE).read_bytes().startswith(b"%PDF")


def test_every_job_runs_on_the_cluster(slurm, cluster):
    """The login node only plans, submits and waits, and needs no torch for that."""
    _, result = cluster
    assert result.output.splitlines()[-1] == WITHOUT_TORCH
    submitted = result.output.count("has been submitted with SLURM jobid")
    (total,) = [line.split()[1] for line in result.output.splitlines() if line.startswith("total ")]
    assert submitted == int(total) > 15
    assert "localrule" not in result.output


def test_one_cell_again(slurm, cluster):
    study, _ = cluster
    before, known = cells(study), len(slurm.jobs())
    cell = study.path("results/eval/okvqa/two-stage-budget/60pct.json")
    cell.write_text("damaged")
    result = submit(
        slurm, study.directory, "--configfile", *CONFIGS, "--force", "--", cell.relative_to(study.directory)
    ).wait()
    assert result.returncode == 0, result.output
    assert cells(study) == before
    assert [job.comment for job in slurm.jobs()[known:]] == ["rule_evaluate_wildcards_okvqa_two-stage-budget_60pct"]


def test_bundled_cells_are_the_same(slurm, cluster):
    study, _ = cluster
    before, known = cells(study), len(slurm.jobs())
    targets = [Path(name) for name in before if name.endswith(".json")]
    assert len(targets) == 4
    for target in targets:
        study.path(target).unlink()
    bundles = ("--groups", "evaluate=cells", "--group-components", "cells=2")
    result = submit(slurm, study.directory, "--configfile", *CONFIGS, *bundles, "--", *targets).wait()
    assert result.returncode == 0, result.output
    assert cells(study) == before
    assert len(slurm.jobs()) == known + 2
