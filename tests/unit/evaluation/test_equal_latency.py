"""Gains over the best mixture of two static configurations with the same mean latency."""

import numpy as np
import pytest

from adamolmo.evaluation.equal_latency import Static, concave_hull, equal_latency
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.outcomes import ALL_DATASETS, Outcomes
from adamolmo.files.comparisons import EQUAL_LATENCY
from adamolmo.files.schema import read_table, write_table
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import Resampling

CONFIGS = [KnobConfig("high", k, 16) for k in (1, 2, 4, 8)]
NAMES = np.array([str(config) for config in CONFIGS], dtype=object)
MEAN_MS = np.array([10.0, 20.0, 30.0, 40.0])
RESAMPLING = Resampling(200, seed=1)


def grid(seed: int, questions: int = 400, accuracy=(0.2, 0.6, 0.5, 0.8)) -> GridOutcomes:
    rng = np.random.default_rng(seed)
    right = (rng.random((questions, 1)) < np.array(accuracy)).astype(float)
    size = rng.choice([0.8, 1.2], size=(questions, 1))
    return GridOutcomes([f"q{i:03d}" for i in range(questions)], right, size * MEAN_MS)


def outcomes(
    asked: GridOutcomes, choices: np.ndarray, dataset: str = "okvqa", own_ms: float = 0.0, network=True
) -> Outcomes:
    """One controller, one budget on average; it chooses these places of CONFIGS and gives the grid's answers."""
    rows = np.arange(len(choices))
    return Outcomes(
        dataset=dataset,
        controllers=("mine",),
        budgets=("25ms-mean",),
        budget_ms=np.array([25.0]),
        feasible=np.array([True]),
        sample_ids=np.array(asked.sample_ids),
        clusters=rows,
        accuracy=asked.accuracy[rows, choices][None, None],
        latency_ms=np.full((1, 1, len(rows)), 99.0),  # of a slow day: it does not count
        controller_ms=np.full((1, 1, len(rows)), own_ms),
        network_decided=np.broadcast_to(network, (1, 1, len(rows))),
        configs=NAMES[choices][None, None],
    )


def compared(asked, choices, overheads_ms=None, learned_from=None, **kwargs):
    static = Static.of(learned_from or asked, asked)
    of_cell = outcomes(asked, choices, **kwargs)
    table = equal_latency([of_cell], {"okvqa": static}, CONFIGS, overheads_ms or {}, RESAMPLING)
    return table[table["budget"] == "25ms-mean"].iloc[0]


def test_the_hull_by_hand():
    latency_ms, accuracy = np.array([3.0, 1.0, 2.0, 4.0, 5.0, 1.0]), np.array([0.6, 0.2, 0.3, 0.7, 0.7, 0.1])
    assert concave_hull(latency_ms, accuracy).tolist() == [1, 0, 3]  # 2 lies below, 4 is dearer than 3, 5 worse than 1
    assert concave_hull(np.array([2.0, 1.0]), np.array([0.5, 0.5])).tolist() == [1]


def test_a_coin_between_two_static_configurations_gains_nothing():
    asked = grid(0, questions=4000)
    choices = np.where(np.random.default_rng(7).random(4000) < 0.5, 1, 3)
    row = compared(asked, choices)
    assert row["latency_ms"] == pytest.approx(asked.latency_ms[np.arange(4000), choices].mean())
    assert row["gain_low"] < 0 < row["gain_high"]
    assert abs(row["gain"]) < 0.015


def test_who_spends_time_where_it_helps_gains():
    asked = grid(1)
    helped = asked.accuracy[:, 3] > asked.accuracy[:, 1]
    row = compared(asked, np.where(helped, 3, 1))
    lazy, full = asked.accuracy[:, 1].mean(), asked.accuracy[:, 3].mean()
    low_ms, high_ms = asked.latency_ms[:, 1].mean(), asked.latency_ms[:, 3].mean()
    share = (row["latency_ms"] - low_ms) / (high_ms - low_ms)
    assert row["mixture_accuracy"] == pytest.approx((1 - share) * lazy + share * full)
    own = np.where(helped, asked.accuracy[:, 3], asked.accuracy[:, 1]).mean()
    assert row["gain"] == pytest.approx(own - row["mixture_accuracy"])
    assert row["gain_low"] > 0.05 and row["gain_p"] < 0.01


def test_what_deciding_costs_must_be_earned():
    asked, choices = grid(2), np.full(400, 1)
    free, dear = compared(asked, choices), compared(asked, choices, own_ms=4.0)
    assert free["gain"] == 0.0
    slope = (asked.accuracy[:, 3].mean() - asked.accuracy[:, 1].mean()) / (
        asked.latency_ms[:, 3].mean() - asked.latency_ms[:, 1].mean()
    )
    assert dear["gain"] == pytest.approx(-4.0 * slope)
    measured_at_training = {"mine": [9.0, 2.0, 9.0, 9.0]}  # that counts
    known = compared(asked, choices, overheads_ms=measured_at_training, own_ms=4.0)
    assert known["gain"] == pytest.approx(-2.0 * slope)


def test_only_where_a_network_decided_its_overhead_is_charged():
    asked, choices = grid(2), np.full(400, 1)
    charged = {"overheads_ms": {"mine": [2.0] * 4}, "own_ms": 0.5}
    static_ms = compared(asked, choices)["latency_ms"]
    for network, own_ms in ((True, 2.0), (False, 0.5), (np.arange(400) < 100, 0.25 * 2.0 + 0.75 * 0.5)):
        assert compared(asked, choices, **charged, network=network)["latency_ms"] == pytest.approx(static_ms + own_ms)


def test_the_hull_is_that_of_the_profile():
    """On the evaluation questions another configuration may be better by luck; no table could have known."""
    asked, profile = grid(3, accuracy=(0.2, 0.6, 0.9, 0.8)), grid(4, accuracy=(0.2, 0.6, 0.5, 0.8))
    static = Static.of(profile, asked)
    assert static.places.tolist() == [0, 1, 3]
    np.testing.assert_allclose(static.frontier[1], asked.accuracy.mean(axis=0)[[0, 1, 3]])
    assert compared(asked, np.full(400, 2), learned_from=profile)["gain"] > 0.1


def test_beyond_the_ends_of_the_hull_its_ends_count():
    asked = grid(5)
    static = Static.of(asked, asked)
    for ms, place in ((1.0, 0), (99.0, 3)):
        weights, slope = static.mixture(ms)
        assert (weights.argmax(), weights.sum(), slope) == (place, 1.0, 0.0)
    slow = compared(asked, np.full(400, 3), own_ms=50.0)
    assert slow["gain"] == pytest.approx(0.0)


def test_all_datasets_together_are_all_questions_each_with_its_own_mixture(tmp_path):
    parts = {"okvqa": grid(6), "text_vqa": grid(7, questions=100)}
    statics = {name: Static.of(asked, asked) for name, asked in parts.items()}
    cells = [outcomes(asked, np.full(len(asked.sample_ids), 2), dataset=name) for name, asked in parts.items()]
    table = equal_latency(cells, statics, CONFIGS, {}, RESAMPLING)
    write_table(table, tmp_path / "equal.parquet", EQUAL_LATENCY)
    rows = read_table(tmp_path / "equal.parquet", EQUAL_LATENCY)[0].set_index(["dataset", "budget"])
    each = [rows.loc[(name, "25ms-mean"), "gain"] for name in parts]
    assert rows.loc[(ALL_DATASETS, "mean"), "gain"] == pytest.approx(0.8 * each[0] + 0.2 * each[1])
