import pytest

from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json

CONTROLLERS = ("two-stage-language", "single-stage-mlp")
TABLES = ["lookup-mean", "lookup-mean without tolerance", "one lookup-mean for all datasets"]
TABLES += ["lookup by kind of question"]
DATASETS = ("text_vqa", "okvqa")
TOLERANCE = 0.05


@pytest.fixture
def outcome(run_on_study):
    arguments = ("--folds", "2", "--budgets", "60pct", "90pct", "--controllers", *CONTROLLERS)
    return run_on_study("controllers_offline", *arguments, changes=f"lookup: {{tolerance: {TOLERANCE}}}")


def test_tables_oracles_and_trained_controllers_are_compared(outcome, finished):
    assert list(outcome.record) == ["60pct", "90pct"]
    for budget, rows in outcome.record.items():
        assert list(rows) == [*TABLES, "oracle of the tier", "oracle", *CONTROLLERS]
        base = rows["lookup-mean"]
        for name, row in rows.items():
            gain = row["gain"]
            assert gain["value"] == pytest.approx(row["accuracy"] - base["accuracy"])
            assert gain["low"] <= gain["value"] <= gain["high"]
            assert 0 <= row["accuracy"] <= 1 and 0 <= row["violation_rate"] <= 1 and row["latency_of_budget"] > 0
            assert f"| {name} | {row['accuracy']:.3f} | {100 * gain['value']:+.1f} (" in outcome.printed
        assert base["gain"] == {"value": 0, "low": 0, "high": 0}
        assert rows["oracle of the tier"]["accuracy"] <= rows["oracle"]["accuracy"]
        assert rows["oracle"]["accuracy"] == pytest.approx(best_within(budget, finished))
    for column in ("accuracy", "difference, points", "violations, %", "latency / budget"):
        assert outcome.printed.count(f"| {column} ") == 2
    for name in CONTROLLERS:  # one training per fold
        assert outcome.printed.count(f"{name}: 20 steps, best at ") == 2


def best_within(budget: str, finished) -> float:
    """What can be had of a profile at a budget: the mean over questions of their best configuration's accuracy."""
    results = finished.path("results/core_exp")
    profile, _ = read_profiles([results / f"{name}.parquet" for name in DATASETS])
    full_ms = {name: read_json(results / f"{name}.reference.json", Reference).median_latency_ms for name in DATASETS}
    budget_ms = profile["dataset"].astype(str).map(full_ms) * int(budget.removesuffix("pct")) / 100
    met = profile[profile["latency_ms"] <= budget_ms * (1 + TOLERANCE)]
    return met.groupby(["dataset", "sample_id"], observed=True)["accuracy"].max().mean()
