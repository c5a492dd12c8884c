"""The oracle's choices, what hindsight does to them, and its table."""

import numpy as np
import pandas as pd
import pytest

from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.oracle import (
    best_in_hindsight,
    confirmed_accuracy,
    grid_distance,
    oracle_table,
)
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import write_table
from adamolmo.knobs import KnobConfig

CONFIGS = [KnobConfig(tier, k, b) for tier in ("high", "low") for k in (4, 6, 8) for b in (12, 14, 16)]
LATENCY_MS = np.array([10.0 * (1 + (c.tier == "high")) + c.top_k / 2 + (c.num_active_blocks - 12) / 2 for c in CONFIGS])


def outcomes(accuracy) -> GridOutcomes:
    accuracy = np.asarray(accuracy, dtype=float)
    ids = [f"s{row}" for row in range(len(accuracy))]
    return GridOutcomes(ids, accuracy, np.broadcast_to(LATENCY_MS, accuracy.shape))


def profile(accuracy) -> pd.DataFrame:
    rows = [
        {
            "dataset": "okvqa",
            "sample_id": f"s{row}",
            "image_id": f"i{row // 2}",
            "tier": config.tier,
            "top_k": config.top_k,
            "num_active_blocks": config.num_active_blocks,
            "prediction": str(config),
            "accuracy": accuracy[row][column],
            "latency_ms": LATENCY_MS[column],
            "vision_ms": LATENCY_MS[column] - 2,
            "prefill_ms": 1.0,
            "decode_ms": 1.0,
            "latency_iqr_ms": 0.0,
            "latency_source": "modelled",
            "drift_pct": 0.0,
            "num_crops": 2,
            "input_tokens": 9,
            "output_tokens": 1,
            "flops": 1e6,
            "memory_bytes": 1,
        }
        for row in range(len(accuracy))
        for column, config in enumerate(CONFIGS)
    ]
    return pd.DataFrame(rows)


def test_best_within_the_budget_the_fastest_of_equals_and_else_the_fastest():
    accuracy = np.zeros((3, len(CONFIGS)))
    accuracy[0, CONFIGS.index(KnobConfig("high", 8, 16))] = 1
    accuracy[1, [CONFIGS.index(KnobConfig("low", 6, 14)), CONFIGS.index(KnobConfig("low", 8, 16))]] = 1
    chosen = [str(CONFIGS[index]) for index in best_in_hindsight(outcomes(accuracy), 15.0)]
    assert chosen == ["low-k4-b12", "low-k6-b14", "low-k4-b12"]
    assert str(CONFIGS[best_in_hindsight(outcomes(accuracy), 99.0)[0]]) == "high-k8-b16"
    assert str(CONFIGS[best_in_hindsight(outcomes(accuracy), 3.0)[1]]) == "low-k4-b12"


def test_table_has_the_rows_of_the_chosen_configurations(tmp_path):
    rng = np.random.default_rng(0)
    accuracy = rng.integers(0, 2, (6, len(CONFIGS))).astype(float)
    frame = profile(accuracy)
    write_table(frame, tmp_path / "core_exp.parquet", CORE_EXP)
    table = oracle_table(frame.sample(frac=1, random_state=1), CONFIGS, 15.0)
    write_table(table, tmp_path / "oracle.parquet", EVALUATION)
    expected = best_in_hindsight(outcomes(accuracy), 15.0)
    assert table["sample_id"].tolist() == [f"s{row}" for row in range(6)]
    assert table["prediction"].tolist() == [str(CONFIGS[index]) for index in expected]
    assert table["accuracy"].tolist() == [accuracy[row, index] for row, index in enumerate(expected)]


def test_a_mean_is_spent_where_it_brings_most():
    """Two of four samples need the dearest configuration; the mean allows it for one of them."""
    accuracy = np.zeros((4, len(CONFIGS)))
    cheapest, dearest = CONFIGS.index(KnobConfig("low", 4, 12)), CONFIGS.index(KnobConfig("high", 8, 16))
    accuracy[:, :] = 0.5
    accuracy[[1, 3], dearest] = 1
    found, mean_ms = outcomes(accuracy), (3 * LATENCY_MS[cheapest] + LATENCY_MS[dearest]) / 4
    assert best_in_hindsight(found, mean_ms, "mean").tolist() == [cheapest, dearest, cheapest, cheapest]
    assert best_in_hindsight(found, LATENCY_MS.min(), "mean").tolist() == [cheapest] * 4
    assert best_in_hindsight(found, 1.0, "mean").tolist() == [cheapest] * 4
    assert best_in_hindsight(found, 99.0, "mean").tolist() == [cheapest, dearest, cheapest, dearest]


def test_no_budget_per_request_beats_the_oracle_of_the_mean():
    rng = np.random.default_rng(0)
    accuracy = (rng.random((300, len(CONFIGS))) < 0.3 + 0.02 * (LATENCY_MS - 12)).astype(float)
    latency_ms = LATENCY_MS * np.exp(rng.normal(0, 0.2, accuracy.shape))
    found, rows = GridOutcomes([f"s{row}" for row in range(300)], accuracy, latency_ms), np.arange(300)
    for budget_ms in (13.0, 16.0, 20.0):
        for_each = best_in_hindsight(found, budget_ms)
        spent_ms = latency_ms[rows, for_each].mean()
        on_average = best_in_hindsight(found, spent_ms, "mean")
        assert latency_ms[rows, on_average].mean() <= spent_ms
        assert accuracy[rows, on_average].mean() >= accuracy[rows, for_each].mean()


def test_few_late_requests_are_kept_by_none():
    accuracy = np.random.default_rng(0).random((20, len(CONFIGS)))
    plain = best_in_hindsight(outcomes(accuracy), 15.0)
    assert best_in_hindsight(outcomes(accuracy), 15.0, "p95").tolist() == plain.tolist()


def test_confirmation_of_a_mean_lets_single_requests_be_dearer_than_it():
    """One of two samples needs the dear tier, and the mean of both allows it."""
    accuracy = np.array([[c.tier == "high" for c in CONFIGS], [True] * len(CONFIGS)])
    assert confirmed_accuracy(outcomes(accuracy), CONFIGS, 20.0, 0).tolist() == [0.0, 1.0]
    assert confirmed_accuracy(outcomes(accuracy), CONFIGS, 20.0, 0, "mean").tolist() == [1.0, 1.0]


def test_order_of_the_profile_does_not_matter():
    accuracy = np.arange(4 * len(CONFIGS)).reshape(4, -1) % 7 / 7
    found = GridOutcomes.of(profile(accuracy).sample(frac=1, random_state=2), CONFIGS)
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.latency_ms, outcomes(accuracy).latency_ms)


def test_confirmation_removes_luck_and_keeps_what_neighbours_share():
    """Hindsight calls both perfect; only an advantage of a whole tier is confirmed by other configurations."""
    rng = np.random.default_rng(0)
    luck = outcomes(rng.random((400, len(CONFIGS))) < 0.3)
    tier = outcomes(np.array([[c.tier == "low" for c in CONFIGS], [c.tier == "high" for c in CONFIGS]] * 50))
    rows = np.arange(400)
    assert luck.accuracy[rows, best_in_hindsight(luck, 99.0)].mean() > 0.99
    assert confirmed_accuracy(luck, CONFIGS, 99.0, seed=0).mean() == pytest.approx(0.3, abs=0.03)
    assert confirmed_accuracy(tier, CONFIGS, 99.0, seed=0).mean() == 1.0


def test_confirmation_stays_within_the_budget():
    only_dear = outcomes(np.array([[c.tier == "high" for c in CONFIGS]]))
    assert confirmed_accuracy(only_dear, CONFIGS, 14.9, seed=0) == 0.0
    assert confirmed_accuracy(only_dear, CONFIGS, 99.0, seed=0) == 1.0


def test_grid_distance():
    distance = grid_distance(CONFIGS)
    place = {str(config): index for index, config in enumerate(CONFIGS)}
    assert distance[place["low-k4-b12"], place["low-k6-b16"]] == 3
    assert distance[place["low-k4-b12"], place["high-k4-b12"]] == 5
    within = [i for i, c in enumerate(CONFIGS) if c.tier == "low"]
    assert distance[np.ix_(within, within)].max() < 5
    assert (distance == distance.T).all()
