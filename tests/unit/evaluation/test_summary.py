"""Cells in, one flat table out; cells that cannot share a table are refused in one sentence."""

import json

import numpy as np
import pandas as pd
import pytest
import study_data

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.summary import (
    at_profile_speed,
    collect,
    full_latency_ms,
    misses_budget,
    static_configs,
    tiers_by_cost,
)
from adamolmo.files.documents import sealed
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.summary import SUMMARY


@pytest.fixture
def paths(tmp_path):
    return study_data.write_cells(tmp_path, controllers=["lookup-mean", "static-full"], budgets=["105pct", "60pct"])


def _edit(path, **changes):
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | changes)))


def test_one_row_per_cell_in_a_fixed_order(paths):
    table = collect(paths)
    assert list(table.columns) == list(SUMMARY.columns)
    keys = list(zip(table["dataset"], table["controller"], table["budget"], strict=True))
    assert keys == [
        (dataset, controller, budget)
        for dataset in study_data.DATASETS
        for controller in ("lookup-mean", "static-full")
        for budget in ("60pct", "105pct")
    ]
    pd.testing.assert_frame_equal(collect(reversed(paths)), table)


def test_what_a_cell_lacks_is_missing_in_the_table(paths, tmp_path):
    _edit(paths[0], joules_per_answer={"value": 2.0, "low": 1.0, "high": 3.0}, tpot_ms=None)
    write_table(collect(paths), tmp_path / "summary.parquet", SUMMARY)
    stored, _ = read_table(tmp_path / "summary.parquet", SUMMARY)
    assert stored["joules_per_answer_high"].dropna().tolist() == [3.0]
    assert stored["joules_per_right_answer"].isna().all()
    assert stored["tpot_p50_ms"].isna().sum() == stored["tpot_p95_ms_low"].isna().sum() == 1


def test_values_intervals_and_costs_are_those_of_the_cell(paths):
    _edit(paths[0], failed=[{"sample_id": "7", "reason": "not an image"}])
    cell = json.loads(paths[0].read_text())
    table = collect(paths)
    row = table[(table["dataset"] == cell["dataset"]) & (table["controller"] == "lookup-mean")].iloc[1]
    expected = {
        "budget_ms": cell["budget_ms"],
        "num_failed": 1,
        "accuracy_low": cell["accuracy"]["low"],
        "latency_mean_ms": cell["latency_ms"]["mean"]["value"],
        "latency_p50_ms_high": cell["latency_ms"]["p50"]["high"],
        "latency_p99_ms_low": cell["latency_ms"]["p99"]["low"],
        "violation_rate_high": cell["violation_rate"]["high"],
        "mean_overshoot_pct": cell["mean_overshoot_pct"]["value"],
        "prefill_ms": cell["stages_ms"]["prefill_ms"],
        "controller_ms": cell["controller_ms"],
        "memory_bytes": cell["memory_bytes"],
    }
    assert {key: row[key] for key in expected} == expected
    assert json.loads(row["knob_counts"]) == cell["knob_counts"]
    assert json.loads(row["device"]) == cell["device"]


def test_the_profile_speed_takes_the_slowdown_out_of_medians_and_rates(paths):
    table = collect(paths).assign(slowdown=1.25, slowdown_low=1.0, slowdown_high=2.0)
    table = table.assign(violation_rate_at_profile_speed=0.125, violation_rate_at_profile_speed_high=0.25)
    found = at_profile_speed(table)
    assert found["latency_p50_ms"].tolist() == (table["latency_p50_ms"] / 1.25).tolist()
    assert found["latency_p50_ms_low"].tolist() == (table["latency_p50_ms_low"] / 2).tolist()
    assert found["latency_p50_ms_high"].tolist() == table["latency_p50_ms_high"].tolist()
    assert set(found["violation_rate"]) == {0.125} and set(found["violation_rate_high"]) == {0.25}


def test_the_table_is_what_its_schema_says(paths, tmp_path):
    table = collect(paths)
    write_table(table, tmp_path / "summary.parquet", SUMMARY)
    stored, _ = read_table(tmp_path / "summary.parquet", SUMMARY)
    assert set(stored["budget_ms"]) == set(table["budget_ms"])
    assert len(stored) == len(table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": {"name": "another processor"}}, "was evaluated with device .*another.* expected one device"),
        ({"clock": "modelled"}, "was evaluated with clock modelled but .* with measured; expected one clock"),
        ({"accuracy": {"value": 0.5, "low": 0.4}}, r"key 'accuracy.high' is missing"),
        ({"latency_ms": {"mean": 3.0}}, r"key 'latency_ms.mean' is 3.0; expected an object"),
        ({"budget": "60pct", "budget_ms": 20.0}, "the cell coco_2014_vqa/lookup-mean/60pct occurs twice"),
    ],
)
def test_cells_that_cannot_share_a_table_are_refused(paths, changes, message):
    first, second = paths[:2]  # 105pct and 60pct of one controller
    _edit(first, **changes)
    with pytest.raises(AdaMolmoError, match=message) as error:
        collect([second, first, *paths[2:]])
    assert str(first) in str(error.value)
    assert str(error.value).count("\n") == 0


def test_the_modelled_clock_gives_the_same_on_every_device(paths):
    for path in paths:
        _edit(path, clock="modelled", device={"name": path.name})
    assert len(collect(paths)) == len(paths)


def test_no_cell_and_a_truncated_cell_are_refused(paths):
    with pytest.raises(AdaMolmoError, match="no evaluated cell"):
        collect([])
    paths[3].write_text(paths[3].read_text()[:50])
    with pytest.raises(AdaMolmoError, match=str(paths[3])):
        collect(paths)


def test_static_configs_are_medians_of_latency_and_means_of_the_rest():
    profile = study_data.profile(samples=31)
    configs = static_configs(profile.sample(frac=1, random_state=0))
    assert len(configs) == 3 * 75
    one = profile.query("dataset == 'okvqa' and tier == 'medium' and top_k == 5 and num_active_blocks == 13")
    row = configs.query("dataset == 'okvqa' and tier == 'medium' and top_k == 5 and num_active_blocks == 13").iloc[0]
    assert row["latency_ms"] == np.median(one["latency_ms"])
    assert row["accuracy"] == pytest.approx(one["accuracy"].mean())
    assert row["decode_ms"] == pytest.approx(one["decode_ms"].mean())


def test_static_configs_are_ordered_from_cheap_to_dear():
    configs = static_configs(study_data.profile(samples=11))
    assert tiers_by_cost(configs) == ["low", "medium", "high"]
    names = configs.loc[configs["dataset"] == "okvqa", ["tier", "top_k", "num_active_blocks"]].to_numpy().tolist()
    assert names == [[t, k, b] for t in study_data.TIERS for k in study_data.TOP_K for b in study_data.BLOCKS]


def test_the_reference_of_percent_budgets_is_the_full_config():
    configs = static_configs(study_data.profile(samples=11))
    for dataset in study_data.DATASETS:
        grid = configs[configs["dataset"] == dataset]
        full = grid.query("tier == 'high' and top_k == 8 and num_active_blocks == 16")["latency_ms"].item()
        assert full_latency_ms(grid) == full


def test_a_promised_mean_is_missed_by_the_mean_and_others_by_the_median():
    cells = pd.DataFrame(
        {
            "budget": ["60pct", "60pct-p95", "60pct-mean"],
            "budget_ms": [10.0] * 3,
            "latency_p50_ms": [11.0, 9.0, 9.0],
            "latency_mean_ms": [9.0, 11.0, 11.0],
        }
    )
    assert misses_budget(cells).tolist() == [True, False, True]
