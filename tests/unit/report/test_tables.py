"""Tables: what is bold is supported by the paired test; the CSV has every number."""

import pandas as pd
import pytest
import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.report import tables
from adamolmo.statistics.intervals import holm


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> pd.DataFrame:
    controllers = [*study_data.CONTROLLERS, "single-stage-mlp"]
    cells = study_data.write_cells(tmp_path_factory.mktemp("cells"), controllers, study_data.BUDGETS_OF_ALL_KINDS)
    return collect(cells)


@pytest.fixture(scope="module")
def comparisons(summary) -> pd.DataFrame:
    return study_data.comparisons(summary)


def _two_cells(accuracies: dict[str, float], late: str = "") -> pd.DataFrame:
    row = {"dataset": "d_1", "budget": "60pct", "budget_ms": 20.0, "latency_mean_ms": 19.0, "violation_rate": 0.02}
    rows = [
        row | {"controller": name, "accuracy": value, "latency_p50_ms": 21.0 if name == late else 19.0}
        for name, value in accuracies.items()
    ]
    bounds = [
        (f"{m}_{end}", step) for m in ("accuracy", "violation_rate") for end, step in (("low", -0.01), ("high", 0.01))
    ]
    table = pd.DataFrame(rows)
    return table.assign(**{name: table[name.rsplit("_", 1)[0]] + step for name, step in bounds})


def _pairs(p: dict[tuple[str, str], float]) -> pd.DataFrame:
    both = {**p, **{(b, a): value for (a, b), value in p.items()}}
    rows = [("d_1", "60pct", a, b, value) for (a, b), value in both.items()]
    return pd.DataFrame(rows, columns=["dataset", "budget", "controller", "other", "accuracy_p"])


@pytest.mark.parametrize(
    ("late", "p_ab", "p_ac", "best"),
    [
        ("", 0.001, 0.001, ["a"]),
        ("", 0.001, 0.04, []),  # 0.04 is not enough after correction for three pairs
        ("a", 0.001, 0.001, []),  # the most accurate misses its budget; b is not shown to beat c
    ],
)
def test_bold_needs_the_paired_test_against_every_other_controller_that_keeps_the_budget(late, p_ab, p_ac, best):
    summary = _two_cells({"a": 0.60, "b": 0.55, "c": 0.50}, late)
    pairs = _pairs({("a", "b"): p_ab, ("a", "c"): p_ac, ("b", "c"): 0.5})
    table = tables.accuracy(summary, pairs)
    assert table.rows.loc[table.rows["best"], "controller"].tolist() == best


def test_equal_accuracies_share_the_mark_and_a_table_of_equals_has_none():
    pairs = _pairs({("a", "b"): 1.0, ("a", "c"): 0.001, ("b", "c"): 0.001})
    shared = tables.accuracy(_two_cells({"a": 0.6, "b": 0.6, "c": 0.5}), pairs).rows
    assert shared["best"].tolist() == [True, True, False]
    close = tables.accuracy(_two_cells({"a": 0.6, "b": 0.6 - 1e-12, "c": 0.5}), pairs).rows
    assert close["best"].tolist() == [True, True, False]  # the same scores, added in another order
    equal = tables.accuracy(_two_cells({"a": 0.6, "b": 0.6, "c": 0.6}), pairs).rows
    assert not equal["best"].any()


def test_the_oracle_is_listed_as_the_upper_bound_and_takes_no_part_in_the_test():
    three = {"a": 0.6, "b": 0.5, "oracle": 0.9}
    pairs = _pairs({("a", "b"): 0.04, ("a", "oracle"): 0.04, ("b", "oracle"): 0.04})
    table = tables.accuracy(_two_cells(three), pairs)
    assert table.rows["controller"].tolist() == ["a", "b", "oracle"]
    assert table.rows["best"].tolist() == [True, False, False]  # 0.04 is enough for one pair
    assert table.caption.endswith("oracle: best in hindsight, the upper bound.")
    assert tables.violations(_two_cells(three)).rows["controller"].tolist() == ["a", "b"]


def test_serving_measures_are_shown_with_intervals_where_there_are_any(summary):
    rows = tables.serving(summary)
    assert list(rows)[3:] == ["ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "tpot_p95_ms", "goodput_per_s"]
    assert len(rows) == len(summary[summary["controller"] != "oracle"])
    joules = {"joules_per_answer": 2.0, "joules_per_answer_low": 1.9, "joules_per_answer_high": 2.2}
    of_one = summary.index == summary.index[summary["controller"] == "lookup-mean"][0]
    some = summary.assign(**{name: pd.Series(joule, summary.index).where(of_one) for name, joule in joules.items()})
    shown = tables.serving(some)
    assert sorted(shown["joules_per_answer"].unique()) == ["", "2.00 [1.90, 2.20]"]
    assert "joules_per_right_answer" not in shown


def test_every_cell_is_in_the_csv_in_percent(summary, comparisons):
    rows = tables.violations(summary).rows
    assert len(rows) == len(summary)
    cell = summary.query("dataset == 'okvqa' and controller == 'tier-only' and budget == '60pct'").iloc[0]
    row = rows.query("dataset == 'okvqa' and controller == 'tier-only' and budget == '60pct'").iloc[0]
    assert row["violation_rate_pct"] == pytest.approx(100 * cell["violation_rate"])
    assert row["violation_rate_high_pct"] == pytest.approx(100 * cell["violation_rate_high"])


def test_designs_compares_two_stage_with_single_stage_over_each_kind_of_budget(comparisons):
    table = tables.designs(comparisons)
    assert set(zip(table.rows["controller"], table.rows["other"], strict=True)) == {
        ("two-stage-budget", "single-stage-mlp")
    }
    assert table.rows["budgets"].tolist() == ["mean", "p95", "per-request"] * 4  # three datasets, and all
    pair = comparisons.query("controller == 'two-stage-budget' and other == 'single-stage-mlp'")
    pair = pair.set_index(["dataset", "budget"]).loc[
        list(zip(table.rows["dataset"], table.rows["budgets"], strict=True))
    ]
    for points, measure in (("accuracy_gain", "accuracy_gain"), ("goodput_gain", "goodput_gain")):
        assert table.rows[f"{points}_points"].to_numpy() == pytest.approx(100 * pair[measure].to_numpy())
        assert table.rows[f"{points}_low_points"].to_numpy() == pytest.approx(100 * pair[f"{measure}_low"].to_numpy())
    assert table.rows["latency_change_low_ms"].to_numpy() == pytest.approx(pair["latency_change_ms_low"].to_numpy())


def test_gains_are_those_over_the_baseline_by_kind_of_budget(comparisons):
    rows = tables.gains(comparisons).rows
    assert set(rows["other"]) == {"lookup-mean"}
    assert set(rows["budgets"]) == {"per-request", "p95", "mean"}
    assert len(rows) == 4 * 3 * 8  # datasets and all, kinds, other controllers
    assert rows["p_holm"].to_numpy() == pytest.approx(holm(rows["p"]))


def test_a_study_of_one_controller_has_tables_without_differences(comparisons):
    for make in (tables.gains, tables.designs):
        assert make(comparisons.iloc[:0]).rows.empty
