"""The parts of adamolmo.lmms_eval that need no lmms-eval: resampling, tables, figure."""

import json

import numpy as np
import pandas as pd
import pytest
from figure_checks import check_layout
from paired_bootstrap import paired_bootstrap

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import write_json
from adamolmo.files.evaluation import LatencySummary, Percentiles, StageMeans
from adamolmo.files.governor import GovernedStream, GovernorState
from adamolmo.files.lmms_eval import ANSWERS, BENCHMARK_COMPARISONS, BENCHMARKS, Benchmark, Metric
from adamolmo.files.schema import write_table
from adamolmo.lmms_eval.figure import benchmarks
from adamolmo.lmms_eval.resampling import resampled_values
from adamolmo.lmms_eval.summary import as_markdown, collect, compare
from adamolmo.report.figures.style import COLUMN_IN, PAGE_IN
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling

IMAGES = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
INTERVAL = Interval(20.0, 19.0, 21.0)
RATE = Interval(0.25, 0.03, 0.65)
GOVERNOR = GovernorState(requests=0, margin=0.0, slowdown=1.0)
SCORES = {
    "static-full": np.array([1.0, 1, 1, 0, 1, 1, 0, 1]),
    "lookup-mean": np.array([1.0, 0, 1, 0, 0, 1, 0, 1]),
}


def mean(items):
    return sum(items) / len(items)


def pairs_right(items):
    """Share of questions whose two answers are right; like MME's it insists on two."""
    questions = {}
    for item in items:
        questions.setdefault(item["question_id"], []).append(item["score"])
    assert all(len(scores) == 2 for scores in questions.values())
    return mean([float(sum(scores) == 2) for scores in questions.values()])


def items(scores):
    return [{"question_id": image, "score": score} for image, score in zip(IMAGES, scores, strict=True)]


def test_an_image_drawn_twice_is_two_questions():
    drawn = resampled_values(items(SCORES["static-full"]), IMAGES, pairs_right, Resampling(500, 0))
    assert set(np.round(drawn * 4, 9)) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    assert drawn.std() == pytest.approx(0.25, abs=0.04), "four images, half of them right: binomial"


def test_a_mean_is_resampled_as_the_general_way_does():
    scores = SCORES["lookup-mean"].tolist()
    fast = resampled_values(scores, IMAGES, mean, Resampling(100, 1))
    slow = resampled_values(scores, IMAGES, lambda chosen: mean(chosen), Resampling(100, 1))
    assert fast == pytest.approx(slow)


def test_an_aggregation_that_writes_files_runs_once_per_document():
    calls = []

    def with_files(results, args):
        calls.append(len(results))
        return 100 * mean(results)

    drawn = resampled_values(SCORES["static-full"].tolist(), IMAGES, with_files, Resampling(300, 0), args="somewhere")
    assert drawn == pytest.approx(
        100 * resampled_values(SCORES["static-full"].tolist(), IMAGES, mean, Resampling(300, 0))
    )
    assert len(calls) == len(IMAGES) + 1


@pytest.mark.parametrize("aggregation", [lambda results, args: max(results), lambda results: results[0] / 0])
def test_what_cannot_be_resampled(aggregation):
    with pytest.raises(AdaMolmoError, match="the task's aggregation cannot be resampled"):
        resampled_values(SCORES["static-full"].tolist(), IMAGES, aggregation, Resampling(10, 0))


def cell(folder, controller, budget="60pct", **changes):
    scores = SCORES[controller]
    drawn = resampled_values(scores.tolist(), IMAGES, mean, Resampling(400, 7))
    accuracy = {"value": float(scores.mean()), "low": float(np.quantile(drawn, 0.025))}
    accuracy |= {"high": float(np.quantile(drawn, 0.975)), "higher_is_better": True, "no_interval": None}
    missing = {"value": 3.0, "low": None, "high": None, "higher_is_better": False, "no_interval": "it writes files"}
    content = {
        "task": "quiz",
        "controller": controller,
        "budget": budget,
        "profile": "okvqa",
        "metrics": {"accuracy": Metric(**accuracy), "other": Metric(**missing)},
        "budget_ms": 24.0 if budget == "60pct" else 40.0,
        "feasible": True,
        "num_samples": len(scores),
        "latency_ms": LatencySummary(mean=INTERVAL, p50=INTERVAL, p95=INTERVAL, p99=INTERVAL),
        "violation_rate": RATE,
        "mean_overshoot_pct": INTERVAL,
        "knob_counts": {"high-k8-b16": len(scores)},
        "stages_ms": StageMeans(**dict.fromkeys(StageMeans.model_fields, 4.0)),
        "ttft_ms": Percentiles(p50=INTERVAL, p95=INTERVAL),
        "tpot_ms": None,
        "joules_per_answer": None,
        "controller_ms": 0.1,
        "controller_share_pct": 0.5,
        "flops": 1e9,
        "memory_bytes": 10**8,
        "governor": GovernedStream(start=GOVERNOR, end=GOVERNOR),
        "device": {"name": "made up"},
        "clock": "measured",
        "lmms_eval_version": "0.7.3",
    } | changes
    path = folder / controller / f"{budget}.json"
    write_json(Benchmark(**content), path)
    rows = pd.DataFrame({"doc_id": range(len(scores)), "image_id": IMAGES, "scores": [json.dumps(s) for s in scores]})
    rows = rows.assign(prompt="what ?", prediction="this", tier="high", top_k=8, num_active_blocks=16, budget_met=True)
    rest = [name for name in ANSWERS.columns if name not in rows]
    write_table(
        rows.assign(**dict.fromkeys(rest, 1)),
        path.with_suffix(".parquet"),
        ANSWERS,
        {"resampled": {"accuracy": drawn.tolist()}},
    )
    return path


def test_the_comparison_is_the_paired_bootstrap(tmp_path):
    table = compare([cell(tmp_path, controller) for controller in SCORES])
    write_table(table, tmp_path / "comparisons.parquet", BENCHMARK_COMPARISONS)
    (row,) = table.itertuples()
    expected = paired_bootstrap(*SCORES.values(), IMAGES, resampling=Resampling(400, 7))
    assert Interval(row.difference, row.difference_low, row.difference_high) == pytest.approx(expected)
    assert (row.task, row.budget, row.metric) == ("quiz", "60pct", "accuracy")


def test_other_documents_are_not_compared(tmp_path, monkeypatch):
    one = cell(tmp_path, "static-full")
    monkeypatch.setitem(globals(), "IMAGES", IMAGES[::-1].copy())
    with pytest.raises(AdaMolmoError, match="answered different documents"):
        compare([one, cell(tmp_path, "lookup-mean")])


def test_table(tmp_path):
    paths = [cell(tmp_path, controller, budget) for controller in SCORES for budget in ("60pct", "100pct")]
    table = collect(paths)
    write_table(table, tmp_path / "summary.parquet", BENCHMARKS)
    assert len(table) == 8
    assert table.loc[table["metric"] == "other", "has_interval"].eq(False).all()
    shown = as_markdown(table, ["60pct", "100pct"])
    assert "| quiz | accuracy | static-full | 0.75 [" in shown
    assert "3 (no interval)<br>20 ms, 25 % over 24 ms" in shown


def test_cells_of_two_devices_are_refused(tmp_path):
    paths = [cell(tmp_path, "static-full"), cell(tmp_path, "lookup-mean", device={"name": "another"})]
    with pytest.raises(AdaMolmoError, match="expected one device in a table"):
        collect(paths)
    collect(
        [cell(tmp_path, "static-full", clock="modelled"), cell(tmp_path, "lookup-mean", clock="modelled", device={})]
    )


@pytest.mark.parametrize("width", [PAGE_IN, COLUMN_IN])
def test_figure_has_a_panel_per_task_and_a_curve_per_controller(tmp_path, width):
    table = collect([cell(tmp_path, c, b) for c in SCORES for b in ("60pct", "100pct")])
    figure = benchmarks(table, {"quiz": "accuracy"}, width)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "accuracy"
    curves = {tuple(line.get_ydata()) for line in axes.lines if line.get_marker() not in ("None", "", None)}
    assert (0.75, 0.75) in curves and (0.5, 0.5) in curves
    figure.draw_without_rendering()
    check_layout(figure)


def test_figure_of_a_metric_that_the_task_lacks(tmp_path):
    table = collect([cell(tmp_path, "static-full")])
    with pytest.raises(AdaMolmoError, match="lmms_eval.tasks.quiz.metric is 'f1'; expected one of accuracy, other"):
        benchmarks(table, {"quiz": "f1"}, PAGE_IN)
