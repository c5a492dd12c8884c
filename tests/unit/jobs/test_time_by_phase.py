"""Where the time of a study went is read off Snakemake's own records."""

import json
import subprocess
import sys

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.time_by_phase import Job, finished_jobs, table

SNAKEFILE = """
rule evaluate:
    output: "made/table", "made/summary"
    log: "logs/evaluation/cell.log"
    shell: "sleep 0.5; touch {output}"

rule prepare_model:
    input: rules.evaluate.output
    output: "made/model"
    log: "logs/model.log"
    shell: "touch {output}"
"""


def test_a_job_is_counted_once_however_many_results_it_has(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "made/model"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    evaluate, prepare = finished_jobs(tmp_path)
    assert (evaluate.phase, evaluate.rule) == ("evaluation", "evaluate")
    assert (prepare.phase, prepare.rule) == ("model", "prepare_model")
    assert evaluate.seconds >= 0.5 and prepare.seconds >= 0


def test_the_table_adds_jobs_up_by_phase_and_names_the_rules_that_matter():
    jobs = [Job("data", "prepare_data", 2.0), Job("evaluation", "evaluate", 60.0), Job("evaluation", "evaluate", 30.0)]
    jobs += [Job("evaluation", "compare", 107.5), Job("evaluation", "summarise", 0.5)]
    assert table(jobs).splitlines()[2:] == [
        "| data | 1 | 2 | 1 % | `prepare_data` 2 |",
        "| evaluation | 4 | 198 | 99 % | `compare` 108, `evaluate` 90 |",
        "| all | 5 | 200 | 100 % | |",
    ]


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(AdaMolmoError, match=f"{tmp_path}: Snakemake has no records of finished jobs here"):
        finished_jobs(tmp_path)


@pytest.mark.parametrize("content", ["{", json.dumps({"rule": "evaluate", "log": [], "starttime": None})])
def test_a_record_that_is_none_is_named(tmp_path, content):
    path = tmp_path / ".snakemake" / "metadata" / "bWFkZQ=="
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(AdaMolmoError, match="bWFkZQ==: is no record of a finished job"):
        finished_jobs(tmp_path)
