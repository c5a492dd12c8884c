from dataclasses import replace

import numpy as np
import pytest
from pandas import DataFrame
from pandas.testing import assert_frame_equal

from adamolmo.controllers.static import StaticController
from adamolmo.data.scoring import vqa_score
from adamolmo.engine import Engine
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig
from adamolmo.latency import MeasuredClock
from adamolmo.latency_model import STAGES
from adamolmo.profiling import (
    Timing,
    accuracy_pass,
    add_latencies,
    choose_samples,
    drift,
    merge_profiles,
    profile_dataset,
    reference_latency,
)

FULL = KnobConfig("high", 4, 7)
KNOBS = ["tier", "top_k", "num_active_blocks"]


def profile(engine, samples, grid, **overrides):
    settings = {
        "dataset": "tiny",
        "style": "tiny",
        "scorer": vqa_score,
        "configs": grid,
        "reference": FULL,
        "batch_size": 4,
        "timing": Timing(samples=3, repeats=3, max_warmup=10, drift_limit_pct=5.0),
        "max_failed_fraction": 0.2,
        "seed": 0,
    }
    return profile_dataset(engine, samples, **settings | overrides)


def measured(engine: Engine) -> Engine:
    return Engine(
        engine.model, engine.tokenizer, engine.ranking, engine.tiers, MeasuredClock("cpu"), engine.max_new_tokens
    )


def test_modelled_profile_is_what_the_engine_says_one_by_one(tiny_engine, tiny_samples, tiny_grid):
    table, metadata = profile(tiny_engine, tiny_samples[::3], tiny_grid)
    assert len(table) == 4 * len(tiny_grid)
    assert not table.duplicated(["sample_id", *KNOBS]).any()
    assert (metadata["clock"], metadata["num_samples"], metadata["num_timed"]) == ("modelled", 4, 0)
    assert (metadata["failed"], metadata["drift_pct"], metadata["device"]["kind"]) == ([], None, "cpu")
    samples = {sample.sample_id: sample for sample in tiny_samples}
    for row in table.itertuples():
        sample, config = samples[row.sample_id], KnobConfig(row.tier, row.top_k, row.num_active_blocks)
        alone = tiny_engine.answer(
            sample.open_image(), sample.question, "tiny", StaticController("static", config), 100.0
        )
        assert (row.prediction, row.accuracy) == (alone.answer, vqa_score(alone.answer, sample.answers))
        assert (row.num_crops, row.input_tokens, row.output_tokens) == (
            alone.num_crops,
            alone.input_tokens,
            alone.output_tokens,
        )
        assert (row.flops, row.memory_bytes) == (alone.flops, alone.memory_bytes)
        assert [getattr(row, stage) for stage in STAGES] == pytest.approx(
            [getattr(alone.stages, stage) for stage in STAGES], rel=1e-6
        )
        assert (row.dataset, row.image_id, row.latency_source) == ("tiny", sample.image_id, "modelled")


def test_modelled_profile_is_deterministic(tiny_engine, tiny_samples, tiny_grid):
    assert_frame_equal(*(profile(tiny_engine, tiny_samples[:4], tiny_grid[:6])[0] for _ in range(2)), check_exact=True)


def test_measured_profile_times_some_samples_and_estimates_the_others(tiny_engine, tiny_samples, tiny_grid):
    table, metadata = profile(measured(tiny_engine), tiny_samples, tiny_grid[-1::-4])
    assert metadata["clock"] == "measured"
    assert metadata["num_timed"] == 3
    assert metadata["answer_agreement"] == 1.0
    assert metadata["drift_pct"] >= 0
    assert metadata["estimate_error_pct"] > 0
    counts = table.groupby("latency_source")["sample_id"].nunique().to_dict()
    assert counts == {"measured": 3, "estimated": 7}
    np.testing.assert_allclose(table["latency_ms"], table[STAGES].sum(axis=1), rtol=1e-6)
    assert (table[["latency_ms", "vision_ms", "prefill_ms"]] > 0).all(axis=None)
    from_runs = table["latency_source"] == "measured"
    assert (table.loc[from_runs, "latency_iqr_ms"] > 0).all()
    assert (table.loc[~from_runs, "latency_iqr_ms"] == 0).all()
    assert (table["memory_bytes"] % 4 == 0).all()
    assert table["memory_bytes"].dtype == np.int64
    # Estimates are those of the same work: medians of both kinds agree for the dearest configuration.
    full = table[(table["tier"] == "high") & (table["top_k"] == 4) & (table["num_active_blocks"] == 7)]
    medians = full.groupby("latency_source")["latency_ms"].median()
    assert medians["estimated"] == pytest.approx(medians["measured"], rel=0.5)


def test_latency_rounds_are_interleaved_and_the_reference_is_timed_throughout(
    tiny_engine, tiny_samples, tiny_grid, monkeypatch
):
    engine, asked, grid = measured(tiny_engine), [], tiny_grid[::4]
    answer = engine.answer

    def recording(image, question, style, controller, budget_ms):
        asked.append(controller.config)
        return answer(image, question, style, controller, budget_ms)

    monkeypatch.setattr(engine, "answer", recording)
    monkeypatch.setattr("adamolmo.profiling.warm_up", lambda run, max_runs: None)
    profile(engine, tiny_samples, grid, timing=Timing(samples=2, repeats=2, max_warmup=10, drift_limit_pct=5.0))
    size = len(grid) + 1
    rounds = [asked[start : start + size] for start in range(0, len(asked), size)]
    assert len(rounds) == 4
    assert all(set(part[:-1]) == set(grid) and part[-1] == FULL for part in rounds)
    assert len({tuple(part) for part in rounds}) == 4


def test_unreadable_image_is_recorded_and_counted(tiny_engine, tiny_samples, tiny_grid):
    torn = replace(tiny_samples[3], sample_id="torn", image=b"not a png")
    table, metadata = profile(tiny_engine, [*tiny_samples, torn], tiny_grid[:1])
    assert [failed["sample_id"] for failed in metadata["failed"]] == ["torn"]
    assert "image cannot be read" in metadata["failed"][0]["reason"]
    assert "torn" not in set(table["sample_id"])
    assert metadata["num_samples"] == 10
    with pytest.raises(AdaMolmoError, match="1 of 11 samples are unreadable"):
        profile(tiny_engine, [*tiny_samples, torn], tiny_grid[:1], max_failed_fraction=0.01)


def test_timed_answers_of_another_model_are_refused(tiny_engine, tiny_samples, tiny_grid):
    table = accuracy_pass(tiny_engine, tiny_samples[:2], "tiny", vqa_score, tiny_grid[:2], 2)
    timed = table[["sample_id", *KNOBS, *STAGES, "memory_bytes"]].assign(
        latency_iqr_ms=0.1, timed_answer=table["prediction"]
    )
    _, metadata = add_latencies(table, timed)
    assert metadata["answer_agreement"] == 1.0
    timed.loc[0, "timed_answer"] = "something else"
    with pytest.raises(AdaMolmoError, match="only 75.0 % of the timed runs gave the scored answer"):
        add_latencies(table, timed)


def test_parts_merge_to_the_whole(tiny_engine, tiny_samples, tiny_grid):
    whole, whole_metadata = profile(tiny_engine, tiny_samples, tiny_grid[:4])
    parts = [profile(tiny_engine, tiny_samples[start::2], tiny_grid[:4]) for start in (0, 1)]
    merged, metadata = merge_profiles(parts)
    assert metadata == whole_metadata
    order = ["sample_id", *KNOBS]
    assert_frame_equal(
        merged.sort_values(order, ignore_index=True), whole.sort_values(order, ignore_index=True), check_exact=True
    )


def part(**metadata):
    defaults = {
        "device": {"kind": "cpu"},
        "clock": "measured",
        "num_samples": 1,
        "num_timed": 2,
        "failed": [],
        "drift_pct": 1.0,
        "drift_limit_pct": 5.0,
        "estimate_error_pct": 3.0,
        "answer_agreement": 1.0,
    }
    return DataFrame({"sample_id": ["a"]}), defaults | metadata


def test_merge_keeps_the_worst_of_the_quality_measures():
    _, merged = merge_profiles(
        [part(drift_pct=4.0, answer_agreement=0.99), part(estimate_error_pct=7.0, failed=[{"sample_id": "x"}])]
    )
    assert (merged["drift_pct"], merged["estimate_error_pct"], merged["answer_agreement"]) == (4.0, 7.0, 0.99)
    assert merged["num_timed"] == 4
    assert merged["failed"] == [{"sample_id": "x"}]


def test_merge_refuses_two_devices_and_too_many_failures():
    with pytest.raises(AdaMolmoError, match="profiles with device .*cpu.* and .*cuda.* cannot be merged"):
        merge_profiles([part(), part(device={"kind": "cuda"})])
    with pytest.raises(AdaMolmoError, match="profiles with clock measured and modelled"):
        merge_profiles([part(), part(clock="modelled")])
    failed = [{"sample_id": "x", "reason": "torn"}]
    with pytest.raises(AdaMolmoError, match="1 of 2 samples are unreadable, expected at most 10 %, for example torn"):
        merge_profiles([part(), part(failed=failed)], max_failed_fraction=0.1)


def test_reference_is_the_median_of_the_full_configuration(tiny_engine, tiny_samples, tiny_grid):
    table, metadata = profile(tiny_engine, tiny_samples, tiny_grid[-4:])
    reference = reference_latency(table, metadata, FULL)
    full = table[(table["tier"] == "high") & (table["top_k"] == 4) & (table["num_active_blocks"] == 7)]
    assert reference["median_latency_ms"] == pytest.approx(np.median(full["latency_ms"]))
    assert (reference["config"], reference["clock"]) == ("high-k4-b7", "modelled")
    with pytest.raises(AdaMolmoError, match="no rows of high-k8-b7"):
        reference_latency(table, metadata, KnobConfig("high", 8, 7))


def test_chosen_samples_depend_on_the_seed_only(tiny_samples):
    first, again, other = (choose_samples(tiny_samples, 4, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 4
    assert choose_samples(tiny_samples, "all", 0) == choose_samples(tiny_samples, 99, 0) == tiny_samples


def test_drift_compares_medians_of_parts():
    assert drift([10.0] * 20) == 0
    assert drift([10.0] * 10 + [11.0] * 10) == pytest.approx(10.0)
    assert drift([10.0, 10.0, 10.0, 99.0, 10.0] * 4) == 0
    assert drift([10.0]) == 0
