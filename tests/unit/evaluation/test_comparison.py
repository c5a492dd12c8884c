"""Differences between controllers on the same questions, from the files that the evaluation writes."""

import numpy as np
import pandas as pd
import pytest
from paired_bootstrap import paired_bootstrap

from adamolmo.budgets import PER_REQUEST
from adamolmo.controllers.roles import baseline_of
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.comparison import compare, hypervolumes, regret
from adamolmo.evaluation.outcomes import ALL_DATASETS, Outcomes, read_outcomes
from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES, REGRET
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table, write_table
from adamolmo.statistics.intervals import Resampling, percentile_interval, sign_flip_test
from adamolmo.statistics.pareto import resampled_hypervolume

RESAMPLING = Resampling(100, seed=4)
BUDGETS_MS = np.array([5.0, 10.0, 20.0])


@pytest.fixture
def outcomes() -> Outcomes:
    """Three controllers on 60 questions about 20 images; the first budget is met by nothing."""
    return _outcomes("okvqa", seed=0)


def _outcomes(dataset: str, seed: int) -> Outcomes:
    rng = np.random.default_rng(seed)
    return Outcomes(
        dataset=dataset,
        controllers=("lookup-mean", "static-full", "two-stage-budget"),
        budgets=("5ms", "10ms", "20ms"),
        budget_ms=BUDGETS_MS,
        feasible=np.array([False, True, True]),
        sample_ids=np.char.mod("q%02d", np.arange(60)),
        clusters=np.repeat(np.arange(20), 3),
        accuracy=rng.integers(0, 2, size=(3, 3, 60)).astype(float),
        latency_ms=rng.uniform(6, 18, size=(3, 3, 60)),
        controller_ms=np.zeros((3, 3, 60)),
        network_decided=np.zeros((3, 3, 60), dtype=bool),
        configs=np.full((3, 3, 60), "high-k8-b16", dtype=object),
    )


def _row(table: pd.DataFrame, budget: str, controller: str, other: str, dataset: str = "okvqa") -> pd.Series:
    keys = {"dataset": dataset, "budget": budget, "controller": controller, "other": other}
    rows = table[(table[list(keys)] == list(keys.values())).all(axis=1)]
    (row,) = [row for _, row in rows.iterrows()]
    return row


def test_every_ordered_pair_at_every_budget_and_over_the_feasible_ones(outcomes):
    table = compare([outcomes], resampling=RESAMPLING)
    assert len(table) == 3 * 2 * 4
    row = _row(table, "20ms", "two-stage-budget", "lookup-mean")
    a, b = outcomes.accuracy[2, 2], outcomes.accuracy[0, 2]
    expected = paired_bootstrap(a, b, outcomes.clusters, resampling=RESAMPLING)
    assert (row["accuracy_gain"], row["accuracy_gain_low"], row["accuracy_gain_high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert row["accuracy_p"] == sign_flip_test(a - b, outcomes.clusters, seed=4)[0]
    late = outcomes.latency_ms > BUDGETS_MS[:, None]
    on_time = [outcomes.accuracy[c, 2] * ~late[c, 2] for c in (2, 0)]
    assert row["goodput_gain"] == pytest.approx((on_time[0] - on_time[1]).mean())
    assert row["goodput_p"] == sign_flip_test(on_time[0] - on_time[1], outcomes.clusters, seed=4)[0]
    assert row["violation_change"] == pytest.approx(late[2, 2].mean() - late[0, 2].mean())
    assert row["latency_change_ms"] == pytest.approx((outcomes.latency_ms[2, 2] - outcomes.latency_ms[0, 2]).mean())
    mirrored = _row(table, "20ms", "lookup-mean", "two-stage-budget")
    assert mirrored["accuracy_gain"] == pytest.approx(-row["accuracy_gain"])
    assert mirrored["accuracy_p"] == row["accuracy_p"]
    mean = outcomes.accuracy[:, 1:].mean(axis=1)  # without the budget that nothing meets
    gain = _row(table, PER_REQUEST, "two-stage-budget", "lookup-mean")["accuracy_gain"]
    assert gain == pytest.approx((mean[2] - mean[0]).mean())


def test_budgets_are_pooled_with_those_of_their_kind(outcomes):
    mixed = Outcomes(**vars(outcomes) | {"budgets": ("5ms", "10ms-p95", "20ms-p95")})
    table = compare([mixed], resampling=RESAMPLING)
    assert set(table["budget"]) == {*mixed.budgets, PER_REQUEST, "p95"}
    gain = _row(table, "p95", "two-stage-budget", "lookup-mean")["accuracy_gain"]
    assert gain == pytest.approx((outcomes.accuracy[2, 1:] - outcomes.accuracy[0, 1:]).mean())
    alone = [_row(table, budget, "static-full", "lookup-mean")["accuracy_gain"] for budget in ("5ms", PER_REQUEST)]
    assert alone[0] == alone[1]  # nothing meets it, and the study has no other of its kind


def test_all_datasets_together_are_all_questions_and_no_two_datasets_share_an_image(outcomes):
    other = _outcomes("text_vqa", seed=1)
    table = compare([outcomes, other], resampling=RESAMPLING)
    assert len(table) == 3 * 2 * 4 * 3
    row = _row(table, "10ms", "static-full", "lookup-mean", ALL_DATASETS)
    a, b = (np.concatenate([part.accuracy[i, 1] for part in (outcomes, other)]) for i in (1, 0))
    expected = paired_bootstrap(a, b, np.repeat(np.arange(40), 3), resampling=RESAMPLING)
    assert (row["accuracy_gain"], row["accuracy_gain_low"], row["accuracy_gain_high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    alone = _row(table, "10ms", "static-full", "lookup-mean", "text_vqa")
    assert alone["accuracy_gain"] == pytest.approx((other.accuracy[1, 1] - other.accuracy[0, 1]).mean())


def test_datasets_with_other_controllers_are_refused(outcomes):
    renamed = Outcomes(**vars(_outcomes("text_vqa", 1)) | {"controllers": ("a", "b", "c")})
    with pytest.raises(AdaMolmoError, match="dataset text_vqa has other controllers or budgets than okvqa"):
        compare([outcomes, renamed], Resampling(10))


def test_regret_is_the_oracles_gain_and_what_a_confirmed_choice_gains(outcomes, tmp_path):
    names = {"controllers": ("lookup-mean", "oracle", "two-stage-budget")}
    parts = [Outcomes(**vars(_outcomes(dataset, seed)) | names) for seed, dataset in enumerate(("okvqa", "text_vqa"))]
    confirmed = {part.dataset: np.random.default_rng(5).random((3, 60)) for part in parts}
    comparisons = compare(parts, RESAMPLING)
    table = regret(comparisons, parts, confirmed, RESAMPLING)
    write_table(table, tmp_path / "regret.parquet", REGRET)
    assert len(table) == 2 * 4 * 3  # without the oracle itself
    rows = table.set_index(["dataset", "controller", "budget"])
    for dataset in ("okvqa", ALL_DATASETS):
        for end in ("", "_low", "_high"):
            gain = _row(comparisons, "20ms", "oracle", "two-stage-budget", dataset)[f"accuracy_gain{end}"]
            assert rows.loc[(dataset, "two-stage-budget", "20ms"), f"regret{end}"] == gain
    part, row = parts[0], rows.loc[("okvqa", "two-stage-budget", "20ms")]
    expected = paired_bootstrap(confirmed["okvqa"][2], part.accuracy[2, 2], part.clusters, resampling=RESAMPLING)
    found = [row[f"regret_confirmed{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx([expected.value, expected.low, expected.high])


def test_hypervolumes_are_shares_up_to_the_highest_budget_and_gains_are_paired(outcomes):
    table = hypervolumes([outcomes], resampling=RESAMPLING).set_index("controller")
    one = table.loc["static-full"]
    resampled = resampled_hypervolume(
        outcomes.latency_ms[1], outcomes.accuracy[1], outcomes.clusters, 20.0, resampling=RESAMPLING
    )
    expected = percentile_interval(*resampled)
    assert one["reference_latency_ms"] == 20.0
    assert (one["hypervolume"], one["hypervolume_low"], one["hypervolume_high"]) == pytest.approx(
        (expected.value / 20, expected.low / 20, expected.high / 20)
    )
    assert one["gain"] == pytest.approx(one["hypervolume"] - table.loc["lookup-mean", "hypervolume"])
    assert one["gain_low"] < one["gain"] < one["gain_high"]
    assert (table.loc["lookup-mean", ["gain", "gain_low", "gain_high"]] == 0).all()


def test_tables_are_what_their_schemas_say(outcomes, tmp_path):
    write_table(compare([outcomes], Resampling(20)), tmp_path / "a.parquet", COMPARISONS)
    write_table(hypervolumes([outcomes], Resampling(20)), tmp_path / "b.parquet", HYPERVOLUMES)
    assert len(read_table(tmp_path / "a.parquet", COMPARISONS)[0]) == 24
    assert len(read_table(tmp_path / "b.parquet", HYPERVOLUMES)[0]) == 3


def test_a_single_controller_has_nothing_to_be_compared_with(outcomes, tmp_path):
    alone = Outcomes(
        **vars(outcomes)
        | {
            name: getattr(outcomes, name)[:1]
            for name in ("controllers", "accuracy", "latency_ms", "controller_ms", "configs")
        }
    )
    write_table(compare([alone], Resampling(20)), tmp_path / "a.parquet", COMPARISONS)
    assert len(read_table(tmp_path / "a.parquet", COMPARISONS)[0]) == 0


def test_the_baseline_is_the_plainest_table():
    assert baseline_of(["two-stage-budget", "lookup-median", "lookup-mean"]) == "lookup-mean"
    assert baseline_of(["two-stage-budget", "static-full"]) == "static-full"
    assert baseline_of(["single-stage-mlp", "hybrid"]) == "hybrid"
    assert baseline_of(["two-stage-budget", "oracle"]) == "two-stage-budget"


def _write_answers(path, ids, latency_ms) -> None:
    columns = {"text": "x", "float32": 1.0, "float64": 1.0, "bool": True}
    rows = pd.DataFrame({name: [columns.get(c.type, 1)] * len(ids) for name, c in EVALUATION.columns.items()})
    write_table(rows.assign(sample_id=ids, image_id=ids, latency_ms=latency_ms), path, EVALUATION)


def _cells(folder, cells) -> pd.DataFrame:
    """Writes (controller, budget, budget_ms), and returns their summary."""
    for controller, budget, ms in cells:
        _write_answers(folder / "d" / controller / f"{budget}.parquet", ["q", "r"], [ms, ms + 0.5])
    summary = pd.DataFrame(cells, columns=["controller", "budget", "budget_ms"])
    return summary.assign(dataset="d", feasible=True, slowdown=1.0)


def test_answers_are_read_by_rising_budget_and_other_questions_are_refused(tmp_path):
    cells = [("a", "9ms", 9.0), ("a", "10ms", 10.0), ("b", "9ms", 9.0), ("b", "10ms", 10.0)]
    summary = _cells(tmp_path, cells)
    (outcomes,) = read_outcomes(summary, tmp_path)
    assert outcomes.budgets == ("9ms", "10ms")
    np.testing.assert_allclose(outcomes.latency_ms, [[[9, 9.5], [10, 10.5]]] * 2)
    np.testing.assert_array_equal(outcomes.late, [[[False, True]] * 2] * 2)
    assert set(outcomes.configs.ravel()) == {"x-k1-b1"}
    _write_answers(tmp_path / "d" / "b" / "10ms.parquet", ["q", "s"], [1.0, 2.0])
    with pytest.raises(AdaMolmoError, match="b/10ms.parquet: answers other questions than a at 9ms"):
        list(read_outcomes(summary, tmp_path))


def test_a_slow_device_is_blamed_on_no_one_but_a_governor(tmp_path):
    summary = _cells(tmp_path, [("a", "9ms", 9.0), ("a", "9ms-p95", 9.0)]).assign(slowdown=1.25)
    (outcomes,) = read_outcomes(summary, tmp_path)
    np.testing.assert_allclose(outcomes.latency_ms, [[[7.2, 7.6], [9, 9.5]]])
