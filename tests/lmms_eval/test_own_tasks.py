"""The study's own datasets as tasks of lmms-eval: the same answers and accuracy as the evaluate rule."""

import json

import pytest

from adamolmo.files.documents import read_json
from adamolmo.files.evaluation import EVALUATION, CellSummary
from adamolmo.files.schema import read_table

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")

from adamolmo.lmms_eval.data import prepare_own
from adamolmo.lmms_eval.run import run_task
from adamolmo.statistics.intervals import Resampling


@pytest.mark.parametrize("controller", ["static-full", "lookup-mean"])
@pytest.mark.parametrize("dataset", ["text_vqa", "okvqa", "coco_2014_vqa"])
def test_equals_the_evaluate_rule(bench, dataset, controller, tmp_path):
    task = f"adamolmo_{dataset}"
    prepare_own(task, bench.study.path(f"results/data/{dataset}/evaluation.parquet"), tmp_path / task)
    model = bench.model(controller, "60pct", dataset, bench.settings.lmms_eval.tasks[task].style)
    result = run_task(model, task, tmp_path, None, Resampling(50))

    cell = bench.study.path(f"results/eval/{dataset}/{controller}/60pct")
    expected = read_json(cell.with_suffix(".json"), CellSummary)
    assert result.metrics["accuracy"].value == pytest.approx(expected.accuracy.value)
    rows, _ = read_table(cell.with_suffix(".parquet"), EVALUATION)
    found = result.answers
    for column in ("prediction", "tier", "top_k", "num_active_blocks", "input_tokens"):
        assert found[column].tolist() == rows[column].tolist(), column
    assert found["latency_ms"].tolist() == pytest.approx(rows["latency_ms"].tolist())
    assert [json.loads(s)["accuracy"] for s in found["scores"]] == pytest.approx(rows["accuracy"].tolist())


def test_every_default_dataset_has_a_task():
    from mini_study import ROOT

    from adamolmo.config import StudyConfig
    from adamolmo.lmms_eval.stock import find_task

    study = StudyConfig.load(ROOT / "config.yaml")
    for dataset in study.datasets:
        assert find_task(f"adamolmo_{dataset}").name == f"adamolmo_{dataset}.yaml"
        assert study.lmms_eval.tasks[f"adamolmo_{dataset}"].style == study.datasets[dataset].style
