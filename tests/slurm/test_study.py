"""The study in miniature through a real Slurm and the committed profile: what one machine makes, to the byte."""

import re
from pathlib import Path

from mini_study import Study
from submission import CONFIGS, FIGURE, WITHOUT_TORCH, submit

TABLES = (".parquet", ".json", ".safetensors")


def cells(study: Study) -> dict[str, bytes]:
    paths = study.path("results/eval").rglob("*.*")
    return {str(path.relative_to(study.directory)): path.read_bytes() for path in paths}


def test_the_tables_are_the_same(workflows, study_result):
    here, study = workflows.here, workflows.study
    made = [path.relative_to(here.directory) for path in here.path("results").rglob("*") if path.suffix in TABLES]
    assert len(made) > 20
    assert [str(name) for name in made if here.path(name).read_bytes() != study.path(name).read_bytes()] == []
    assert study.path(FIGURE).read_bytes().startswith(b"%PDF")


def test_every_job_runs_on_the_cluster(study_result):
    """The login node only plans, submits and waits, and needs no torch for that."""
    assert study_result.output.splitlines()[-1] == WITHOUT_TORCH
    submitted = study_result.output.count("has been submitted with SLURM jobid")
    (total,) = re.findall(r"^(\d+) jobs to do: ", study_result.output, re.MULTILINE)
    assert submitted == int(total) > 15
    assert "localrule" not in study_result.output


def test_one_cell_again(slurm, workflows, study_result):
    study = workflows.study
    before, known = cells(study), len(slurm.jobs())
    cell = "results/eval/okvqa/two-stage-budget/60pct.json"
    study.path(cell).write_text("damaged")
    result = submit(slurm, study.directory, "--configfile", *CONFIGS, "--force", "--", cell).wait()
    assert result.returncode == 0, result.output
    assert cells(study) == before
    assert [job.comment for job in slurm.jobs()[known:]] == ["rule_evaluate_wildcards_okvqa_two-stage-budget_60pct"]


def test_bundled_cells_are_the_same(slurm, workflows, study_result):
    study = workflows.study
    before, known = cells(study), len(slurm.jobs())
    targets = [Path(name) for name in before if name.endswith(".json")]
    assert len(targets) == 6
    for target in targets:
        study.path(target).unlink()
    bundles = ("--groups", "evaluate=cells", "--group-components", "cells=2")
    result = submit(slurm, study.directory, "--configfile", *CONFIGS, *bundles, "--", *targets).wait()
    assert result.returncode == 0, result.output
    assert cells(study) == before
    assert len(slurm.jobs()) == known + 3
