import pytest
from made_documents import reference
from pandas import DataFrame

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.cell_summary import Cell, Timing, check_reference, summarise_cell
from adamolmo.files.documents import Failed
from adamolmo.files.evaluation import CellSummary
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling, clopper_pearson


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
            "output_tokens": [1, 2, 0, 1],
            "energy_j": [None] * 4,
            "flops": [1e6, 2e6, 3e6, 2e6],
            "memory_bytes": [100, 300, 200, 100],
        }
    )


def summarise(probe_ms: Interval | None = None, **changes) -> CellSummary:
    of_profile = reference(
        median_latency_ms=20.0, lowest_median_latency_ms=10.0, reference_request_ms=Interval(15.0, 12.0, 16.0)
    )
    cell = Cell("tiny", "lookup-mean", Budget.parse("50pct"), of_profile)
    failed = [{"sample_id": "torn", "reason": "no image"}]
    return summarise_cell(
        cell, hand_made().assign(**changes), Timing({}, "measured", probe_ms), None, failed, Resampling(500)
    )


def test_summary_against_hand_computed_values():
    summary = summarise()
    assert summary.feasible
    assert summary.num_samples == 4
    assert summary.failed == (Failed(sample_id="torn", reason="no image"),)
    assert summary.budget_ms == 10.0
    assert vars(summary.accuracy) == pytest.approx({"value": 0.75, "low": 0.5, "high": 1.0})
    assert summary.latency_ms.mean.value == 12.5
    assert summary.latency_ms.p50.value == 11.0
    assert summary.latency_ms.p95.value == pytest.approx(12 + 0.85 * 8)
    assert summary.latency_ms.p99.value == pytest.approx(12 + 0.97 * 8)
    # Clopper-Pearson 95 % for 2 of 4, from its defining beta quantiles; exactly at the budget is no violation.
    assert vars(summary.violation_rate) == pytest.approx({"value": 0.5, "low": 0.067586, "high": 0.932414}, abs=1e-5)
    assert vars(summary.mean_overshoot_pct) == pytest.approx({"value": 30.0, "low": 10.0, "high": 50.0})
    assert summary.knob_counts == {"high-k8-b16": 1, "low-k4-b12": 1, "low-k4-b16": 2}
    assert summary.stages_ms.model_dump() == {
        "vision_ms": 3.5,
        "prefill_ms": 6.0,
        "controller_ms": 1.25,
        "decode_ms": 1.75,
        "preprocess_ms": 4.0,
    }
    assert summary.controller_ms == 1.25
    assert summary.controller_share_pct == 10.0
    assert summary.flops == 2e6
    assert summary.memory_bytes == 300
    assert summary.slowdown == Interval(1.0, 1.0, 1.0)
    assert summary.violation_rate_at_profile_speed == summary.violation_rate


def test_serving_measures_against_hand_computed_values():
    """First tokens after 6, 10, 18 and 9 ms; 2, 1, no and 1 ms per token; 2 answers right and on time in 50 ms."""
    summary = summarise()
    assert (summary.ttft_ms.p50.value, summary.ttft_ms.p95.value) == pytest.approx((9.5, 10 + 0.85 * 8))
    assert (summary.tpot_ms.p50.value, summary.tpot_ms.p95.value) == pytest.approx((1.0, 1.9))
    # An image's two requests together: 1 right and on time in 20 ms, 1 in 30 ms.
    assert vars(summary.goodput_per_s) == pytest.approx({"value": 40.0, "low": 100 / 3, "high": 50.0})
    assert summarise(output_tokens=0).tpot_ms is None


def test_energy_per_answer_and_per_right_answer():
    summary = summarise(energy_j=[2.0, 4.0, 1.0, 1.0])
    assert vars(summary.joules_per_answer) == pytest.approx({"value": 2.0, "low": 1.0, "high": 3.0})
    assert vars(summary.joules_per_right_answer) == pytest.approx({"value": 8 / 3, "low": 1.0, "high": 6.0})


@pytest.mark.parametrize("energy_j", [None, [2.0, 4.0, None, 1.0], 0.0])
def test_energy_that_was_not_counted_is_missing_and_not_zero(energy_j):
    summary = summarise(energy_j=energy_j)
    assert summary.joules_per_answer is summary.joules_per_right_answer is None


def test_energy_of_right_answers_is_missing_where_hardly_any_is_right():
    summary = summarise(energy_j=1.0, accuracy=[0.0, 0.0, 1.0, 0.0])
    assert summary.joules_per_answer.value == 1.0
    assert summary.joules_per_right_answer is None


def test_violations_at_the_profile_speed():
    """Latencies of 8, 12, 20 and 10 ms under 10 ms, while the speed probe takes 18 ms instead of 15; it may also
    have been as fast as 16 against 16, then two are late, or as slow as 24 against 12, then none is."""
    summary = summarise(Interval(18.0, 16.0, 24.0))
    assert summary.slowdown == Interval(1.2, 1.0, 2.0)
    assert summary.violation_rate.value == 0.5
    two_late, none_late = clopper_pearson(2, 4), clopper_pearson(0, 4)
    expected = Interval(0.25, none_late.low, two_late.high)
    assert summary.violation_rate_at_profile_speed == expected


def test_reference_of_another_device_is_refused():
    with pytest.raises(AdaMolmoError, match="the profile's device is .*other"):
        check_reference(reference(clock="measured", device={"name": "other"}), {"name": "this"}, "measured")
    # A modelled latency is the same on every device.
    check_reference(reference(clock="modelled", device={"name": "other"}), {"name": "this"}, "modelled")
