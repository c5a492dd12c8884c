"""Folders and names that a shell would read as commands."""

import pytest
from mini_study import Study, only_error


@pytest.mark.parametrize("name", ["a folder", "a'quote", "a$(touch HACKED)"])
def test_a_job_runs_in_a_folder_of_any_name(tmp_path, name):
    study = Study.clone(tmp_path / name)
    result = study.snakemake("--", "results/data/okvqa/importance.parquet")
    assert result.returncode == 0, result.output
    assert not list(tmp_path.rglob("HACKED"))


@pytest.mark.parametrize("task", ["x$(touch HACKED)", "x; touch HACKED", "x`touch HACKED`"])
def test_a_task_is_no_command(clone, config, task):
    path = config(f"lmms_eval: {{tasks: {{'{task}': {{profile: okvqa, style: null, metric: accuracy}}}}}}")
    error = only_error(clone.snakemake("--", "lmms_eval_data", configs=(path,)))
    assert f"'{task}' is not the name of a task" in error
    assert not list(clone.directory.rglob("HACKED"))


def test_a_folder_of_task_data_is_no_command(clone, config):
    """Only printed: the jobs need lmms-eval."""
    path = config("lmms_eval: {data: 'my data$(touch HACKED)'}")
    result = clone.snakemake("--dry-run", "--printshellcmds", "--", "lmms_eval_data", configs=(path,))
    assert result.returncode == 0, result.output
    assert "--target 'my data$(touch HACKED)/adamolmo_okvqa'" in result.output
