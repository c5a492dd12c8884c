"""The rules: from made-up copies of Hub repositories and the study's own data to the table and the figure."""

import json

import pytest

from adamolmo.files.documents import read_json
from adamolmo.files.evaluation import CellSummary
from adamolmo.files.lmms_eval import ANSWERS, BENCHMARK_COMPARISONS, BENCHMARKS, Benchmark
from adamolmo.files.schema import read_table

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")

CONTROLLERS = ("static-full", "lookup-mean")
TASKS = ("adamolmo_text_vqa", "adamolmo_okvqa", "adamolmo_coco_2014_vqa", "mme")


@pytest.fixture(scope="module")
def ran(bench, unscored, tmp_path_factory):
    """The study after `snakemake lmms_eval`, its task data in a directory of their own."""
    folder = tmp_path_factory.mktemp("lmms")
    config = folder / "source.yaml"
    config.write_text(json.dumps({"lmms_eval": {"data": str(folder / "data"), "source": str(unscored.source)}}))
    configs = (bench.study.repository / "tests/lmms_eval/lmms.yaml", config)
    result = bench.study.snakemake("--", "lmms_eval", configs=configs)
    assert result.returncode == 0, result.output
    return bench.study, configs


def test_every_cell_is_in_the_table(ran):
    study, _ = ran
    table, _ = read_table(study.path("results/lmms_eval/summary.parquet"), BENCHMARKS)
    assert set(table["task"]) == set(TASKS)
    assert set(table["metric"]) == {"accuracy", "mme_perception_score", "mme_cognition_score"}
    assert len(table) == len(CONTROLLERS) * (len(TASKS) + 1)
    assert table["has_interval"].all()
    shown = study.path("results/lmms_eval/summary.md").read_text()
    assert all(task in shown for task in TASKS)


def test_own_tasks_equal_the_evaluate_rule(ran):
    study, _ = ran
    for dataset in ("text_vqa", "okvqa", "coco_2014_vqa"):
        for controller in CONTROLLERS:
            cell = read_json(study.path(f"results/eval/{dataset}/{controller}/60pct.json"), CellSummary)
            found = read_json(study.path(f"results/lmms_eval/adamolmo_{dataset}/{controller}/60pct.json"), Benchmark)
            assert found.metrics["accuracy"].value == pytest.approx(cell.accuracy.value)
            for key in ("budget_ms", "feasible", "violation_rate", "knob_counts"):
                assert getattr(found, key) == getattr(cell, key)
            assert found.latency_ms.p50.value == pytest.approx(cell.latency_ms.p50.value)


def test_controllers_are_compared_on_the_same_documents(ran):
    study, _ = ran
    table, _ = read_table(study.path("results/lmms_eval/comparisons.parquet"), BENCHMARK_COMPARISONS)
    assert len(table) == len(TASKS) + 1
    for row in table.itertuples():
        cells = [
            read_json(study.path(f"results/lmms_eval/{row.task}/{controller}/60pct.json"), Benchmark)
            for controller in (row.controller, row.other)
        ]
        one, other = (cell.metrics[row.metric].value for cell in cells)
        assert row.difference == pytest.approx(one - other)
        assert row.difference_low <= row.difference <= row.difference_high


def test_answers_are_complete(ran):
    study, _ = ran
    answers, metadata = read_table(study.path("results/lmms_eval/mme/lookup-mean/60pct.parquet"), ANSWERS)
    cell = read_json(study.path("results/lmms_eval/mme/lookup-mean/60pct.json"), Benchmark)
    assert len(answers) == cell.num_samples == 16
    assert (answers["budget_met"] == (answers["latency_ms"] <= cell.budget_ms)).all()
    assert set(metadata["resampled"]) == set(cell.metrics)


def test_the_figure_is_drawn(ran):
    study, _ = ran
    assert study.path("results/plots/lmms_eval.pdf").read_bytes().startswith(b"%PDF")


def test_nothing_more_to_do_and_a_new_budget_plans_its_own_cells(ran, tmp_path):
    study, configs = ran
    assert study.plan("--", "lmms_eval", configs=configs) == {}
    more = tmp_path / "more.yaml"
    more.write_text("lmms_eval: {budgets: [60pct, 90pct]}")
    cells = len(TASKS) * len(CONTROLLERS)
    expected = {"run_lmms_eval": cells, "summarise_lmms_eval": 1, "lmms_eval": 1}
    assert study.plan("--", "lmms_eval", configs=(*configs, more)) == expected
