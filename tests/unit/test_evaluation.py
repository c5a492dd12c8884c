from dataclasses import replace

import numpy as np
import pytest
from pandas import DataFrame

from adamolmo.budgets import Budget
from adamolmo.controllers.static import StaticController
from adamolmo.data.scoring import vqa_score
from adamolmo.engine import Engine
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation import check_reference, evaluate_cell, summarise
from adamolmo.knobs import KnobConfig
from adamolmo.latency import MeasuredClock, StageTimes, describe_device
from adamolmo.result_files.evaluation import CELL, EVALUATION
from adamolmo.schema import read_json, read_table, write_json, write_table

CONFIG = KnobConfig("high", 3, 6)


def evaluate(engine, samples, budget="120pct", **overrides):
    reference = {
        "config": "high-k4-b7",
        "median_latency_ms": 2.0,
        "lowest_median_latency_ms": 1.0,
        "device": describe_device("cpu"),
        "clock": engine.clock.name,
    }
    settings = {
        "dataset": "tiny",
        "style": "tiny",
        "scorer": vqa_score,
        "budget": Budget.parse(budget),
        "reference": reference | overrides.pop("reference", {}),
        "full": KnobConfig("high", 4, 7),
        "max_warmup": 3,
        "max_failed_fraction": 0.2,
        "resamples": 200,
        "seed": 0,
    }
    controller = StaticController(f"static-{CONFIG}", CONFIG)
    return evaluate_cell(engine, samples, controller, **settings | overrides)


def hand_made() -> DataFrame:
    """Four requests about two images; budget 10 ms: two above it, by 20 % and 100 %."""
    return DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"],
            "image_id": ["x", "x", "y", "y"],
            "accuracy": [1.0, 0.0, 1.0, 1.0],
            "tier": ["low", "low", "high", "low"],
            "top_k": [4, 4, 8, 4],
            "num_active_blocks": [16, 16, 16, 12],
            "latency_ms": [8.0, 12.0, 20.0, 10.0],
            "vision_ms": [1.0, 2.0, 9.0, 2.0],
            "prefill_ms": [4.0, 7.0, 8.0, 5.0],
            "controller_ms": [1.0, 1.0, 1.0, 2.0],
            "decode_ms": [2.0, 2.0, 2.0, 1.0],
            "preprocess_ms": [3.0, 3.0, 3.0, 7.0],
            "flops": [1e6, 2e6, 3e6, 2e6],
            "memory_bytes": [100, 300, 200, 100],
        }
    )


def test_summary_against_hand_computed_values():
    summary = summarise(hand_made(), budget_ms=10.0, resamples=500, seed=0)
    assert summary["num_samples"] == 4
    assert summary["budget_ms"] == 10.0
    assert summary["accuracy"] == pytest.approx({"value": 0.75, "low": 0.5, "high": 1.0})
    assert summary["latency_ms"]["mean"]["value"] == 12.5
    assert summary["latency_ms"]["p50"]["value"] == 11.0
    assert summary["latency_ms"]["p95"]["value"] == pytest.approx(12 + 0.85 * 8)
    assert summary["latency_ms"]["p99"]["value"] == pytest.approx(12 + 0.97 * 8)
    # Clopper-Pearson 95 % for 2 of 4, from its defining beta quantiles; exactly at the budget is no violation.
    assert summary["violation_rate"] == pytest.approx({"value": 0.5, "low": 0.067586, "high": 0.932414}, abs=1e-5)
    assert summary["mean_overshoot_pct"] == pytest.approx({"value": 30.0, "low": 10.0, "high": 50.0})
    assert summary["knob_counts"] == {"high-k8-b16": 1, "low-k4-b12": 1, "low-k4-b16": 2}
    assert summary["stages_ms"] == {
        "vision_ms": 3.5,
        "prefill_ms": 6.0,
        "controller_ms": 1.25,
        "decode_ms": 1.75,
        "preprocess_ms": 4.0,
    }
    assert summary["controller_ms"] == 1.25
    assert summary["controller_share_pct"] == 10.0
    assert summary["flops"] == 2e6
    assert summary["memory_bytes"] == 300


def test_cell_of_real_requests_passes_the_schema(tiny_engine, tiny_samples, tmp_path):
    table, summary = evaluate(tiny_engine, tiny_samples)
    write_table(table, tmp_path / "cell.parquet", EVALUATION, {})
    write_json(summary, tmp_path / "cell.json", CELL)
    rows, _ = read_table(tmp_path / "cell.parquet", EVALUATION)
    stored = read_json(tmp_path / "cell.json", CELL)
    assert stored["knob_counts"] == {str(CONFIG): 10}
    assert stored["clock"] == "modelled"
    assert stored["failed"] == []
    assert (stored["controller"], stored["budget"], stored["budget_ms"]) == (f"static-{CONFIG}", "120pct", 2.4)
    assert stored["accuracy"]["value"] == pytest.approx(rows["accuracy"].mean(), abs=1e-6)
    for sample, row in zip(tiny_samples, rows.itertuples(), strict=True):
        assert row.sample_id == sample.sample_id
        assert row.accuracy == pytest.approx(vqa_score(row.prediction, sample.answers))
    stages = rows[["vision_ms", "prefill_ms", "controller_ms", "decode_ms"]].sum(axis=1)
    np.testing.assert_allclose(rows["latency_ms"], stages, rtol=1e-5)


def test_modelled_cell_is_deterministic(tiny_engine, tiny_samples):
    first, second = (evaluate(tiny_engine, tiny_samples[:3]) for _ in range(2))
    assert first[0].equals(second[0])
    assert first[1] == second[1]


def test_measured_cell_warms_up_first_and_asks_each_sample_once(tiny_engine, tiny_samples, monkeypatch):
    engine = Engine(
        tiny_engine.model, tiny_engine.tokenizer, tiny_engine.ranking, tiny_engine.tiers, MeasuredClock("cpu"), 4
    )
    asked, answer = [], engine.answer

    def recording(image, question, style, controller, budget_ms):
        asked.append((question, controller.name))
        return answer(image, question, style, controller, budget_ms)

    monkeypatch.setattr(engine, "answer", recording)
    table, summary = evaluate(engine, tiny_samples[:4], "170ms")
    questions, own = [sample.question for sample in tiny_samples[:4]], f"static-{CONFIG}"
    warm_up, reference = [(questions[0], own)] * 3, [(questions[0], "static-high-k4-b7")]
    assert asked == warm_up + reference + [(question, own) for question in questions]
    assert summary["clock"] == "measured"
    assert summary["budget_ms"] == 170.0
    assert len(table) == 4


def test_the_reference_request_is_timed_throughout_and_its_median_counts(tiny_engine, tiny_samples, monkeypatch):
    """25 requests: it runs before the 1st, the 11th and the 21st, and never counts as an answer."""
    answer, speeds, order = tiny_engine.answer, iter((1.0, 7.0, 2.0)), []

    def slower(image, question, style, controller, budget_ms):
        response = answer(image, question, style, controller, budget_ms)
        order.append(controller.name)
        if controller.name != "static-high-k4-b7":
            return response
        return replace(response, stages=StageTimes(vision_ms=next(speeds)))

    monkeypatch.setattr(tiny_engine, "answer", slower)
    table, summary = evaluate(tiny_engine, [tiny_samples[number % 10] for number in range(25)])
    assert [number for number, name in enumerate(order) if name == "static-high-k4-b7"] == [0, 11, 22]
    assert summary["reference_request_ms"] == 2.0
    assert len(table) == 25


def test_feasible_compares_with_the_fastest_configuration(tiny_engine, tiny_samples):
    assert [evaluate(tiny_engine, tiny_samples[:1], budget)[1]["feasible"] for budget in ("50pct", "49pct")] == [
        True,
        False,
    ]


def test_unreadable_image_is_listed(tiny_engine, tiny_samples):
    torn = replace(tiny_samples[0], sample_id="torn", image=tiny_samples[0].image[:50])
    table, summary = evaluate(tiny_engine, [torn, *tiny_samples[:5]])
    assert summary["num_samples"] == len(table) == 5
    assert [failed["sample_id"] for failed in summary["failed"]] == ["torn"]
    with pytest.raises(AdaMolmoError, match="1 of 2 samples are unreadable"):
        evaluate(tiny_engine, [torn, tiny_samples[0]])


def test_reference_of_another_clock_or_device_is_refused(tiny_engine, tiny_samples):
    with pytest.raises(AdaMolmoError, match="the profile's clock is measured, but this evaluation's is modelled"):
        evaluate(tiny_engine, tiny_samples, reference={"clock": "measured"})
    with pytest.raises(AdaMolmoError, match="the profile's device is .*other"):
        check_reference({"clock": "measured", "device": {"name": "other"}}, {"name": "this"}, "measured")
    # A modelled latency is the same on every device.
    check_reference({"clock": "modelled", "device": {"name": "other"}}, {"name": "this"}, "modelled")
