"""`python -m lmms_eval --model adamolmo` as its users call it, in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from mini_study import MINI, ROOT

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")


def lmms_eval(bench, data, tasks: str, *options: str) -> subprocess.CompletedProcess:
    config = "+".join(str(ROOT / part) for part in ("config.yaml", MINI, "tests/lmms_eval/lmms.yaml"))
    arguments = f"pretrained={bench.model_dir},controller=lookup-mean,budget=60pct,config={config},data={data}"
    command = [sys.executable, "-m", "lmms_eval", "--model", "adamolmo", "--model_args", arguments, "--tasks", tasks]
    # Another checkout of the package must not answer for this one.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env=environment, cwd=bench.study.directory
    )


def test_the_model_is_registered():
    (found,) = entry_points(group="lmms_eval.models", name="adamolmo")
    assert found.value == "adamolmo.lmms_eval:manifest"


def test_two_stock_tasks(bench, unscored, tmp_path):
    run = lmms_eval(bench, unscored.path, "mme,pope", "--log_samples", "--output_path", str(tmp_path), "--limit", "4")
    # pope has no profile in the configuration
    assert run.returncode == 1, run.stdout + run.stderr
    assert "error: task 'pope' is not among lmms_eval.tasks of" in run.stderr

    run = lmms_eval(bench, unscored.path, "mme", "--log_samples", "--output_path", str(tmp_path), "--limit", "4")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "mme_perception_score" in run.stdout
    assert "mme: 4 requests, median latency" in run.stderr
    (log,) = tmp_path.rglob("*samples_mme.jsonl")
    samples = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(samples) == 4
    for sample in samples:
        (measures,) = sample["token_counts"]
        assert measures["budget_met"] == (measures["latency_ms"] <= measures["budget_ms"])
        assert measures["tier"] in bench.settings.knobs.tiers


def test_missing_data_ends_with_a_sentence(bench, tmp_path):
    run = lmms_eval(bench, tmp_path, "mme")
    assert run.returncode == 1
    assert f"error: {tmp_path / 'mme'}: task 'mme' has no prepared data; run `snakemake lmms_eval_data`" in run.stderr
    assert "RetryError" not in run.stdout + run.stderr
