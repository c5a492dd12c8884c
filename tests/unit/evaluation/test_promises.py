"""What budgets promised, and what was found."""

import numpy as np
import pytest

from adamolmo.evaluation.outcomes import ALL_DATASETS, Outcomes
from adamolmo.evaluation.promises import promises
from adamolmo.files.comparisons import PROMISES
from adamolmo.files.schema import read_table, write_table
from adamolmo.statistics.intervals import Resampling, clopper_pearson

BUDGETS = ("10ms", "10ms-p95", "20ms-p95", "10ms-mean")
BUDGET_MS = np.array([10.0, 10.0, 20.0, 10.0])
RESAMPLING = Resampling(200, seed=0)


def outcomes(late: dict[str, int], mean_share: float = 0.99, dataset: str = "okvqa", questions: int = 200) -> Outcomes:
    """Of every controller as many late requests at each budget; the mean budget's latencies have this mean."""
    names = tuple(sorted(late))
    latency_ms = np.full((len(names), 4, questions), 0.9) * BUDGET_MS[:, None]
    for place, name in enumerate(names):
        latency_ms[place, :, : late[name]] *= 1.5
    spread = np.random.default_rng(3).normal(0, 0.2, questions)
    latency_ms[:, 3] = 10 * (mean_share + spread - spread.mean())
    shape = latency_ms.shape
    return Outcomes(
        dataset=dataset,
        controllers=names,
        budgets=BUDGETS,
        budget_ms=BUDGET_MS,
        feasible=np.ones(4, dtype=bool),
        sample_ids=np.char.mod("q%03d", np.arange(questions)),
        clusters=np.arange(questions),
        accuracy=np.ones(shape),
        latency_ms=latency_ms,
        controller_ms=np.zeros(shape),
        network_decided=np.zeros(shape, dtype=bool),
        configs=np.full(shape, "high-k8-b16", dtype=object),
    )


def found(*parts: Outcomes):
    return promises(parts, RESAMPLING).set_index(["dataset", "controller", "budget"])


def test_a_late_share_has_the_binomial_interval_of_its_requests():
    row = found(outcomes({"lookup-mean": 9})).loc[("okvqa", "lookup-mean", "10ms-p95")]
    assert row["promised"] == 0.05
    expected = clopper_pearson(9, 200)
    assert tuple(row[["found", "found_low", "found_high"]]) == (expected.value, expected.low, expected.high)
    assert not row["broken"]


def test_only_what_is_certainly_beyond_is_broken():
    table = found(outcomes({"a": 12, "b": 30}))
    assert not table.loc[("okvqa", "a", "10ms-p95"), "broken"]  # 6 %, but 3 to 10 %
    assert table.loc[("okvqa", "b", "10ms-p95"), "broken"]
    assert table.loc[("okvqa", "b", "p95"), "broken"]


def test_a_mean_is_told_in_shares_of_the_budget():
    row = found(outcomes({"a": 0}, mean_share=1.01)).loc[("okvqa", "a", "10ms-mean")]
    assert (row["promised"], row["broken"]) == (1.0, False)
    assert row["found"] == pytest.approx(1.01)
    assert row["found_low"] < 1 < row["found_high"]
    assert found(outcomes({"a": 0}, mean_share=1.1)).loc[("okvqa", "a", "mean"), "broken"]


def test_a_kind_is_pooled_over_its_budgets_and_all_datasets(tmp_path):
    parts = [outcomes({"a": 10}), outcomes({"a": 0}, dataset="text_vqa", questions=100)]
    table = promises(parts, RESAMPLING)
    write_table(table, tmp_path / "promises.parquet", PROMISES)
    rows = read_table(tmp_path / "promises.parquet", PROMISES)[0].set_index(["dataset", "controller", "budget"])
    assert rows.loc[(ALL_DATASETS, "a", "p95"), "found"] == pytest.approx(10 / 300)
    assert rows.loc[("text_vqa", "a", "p95"), "found_high"] > 0  # nothing late so far does not mean never
    assert set(table["budget"]) == {"10ms-p95", "20ms-p95", "10ms-mean", "p95", "mean"}


def test_who_heeds_no_budget_promises_nothing():
    assert set(found(outcomes({"a": 0, "static-full": 200, "oracle": 0})).index.unique("controller")) == {"a"}
