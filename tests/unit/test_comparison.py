"""Controllers side by side: differences, regret, hypervolume, and the page and figure made of them."""

import numpy as np
import pandas as pd
import pytest
from study_data import write_cells

from adamolmo.comparison import Cells, compare, hypervolumes, regret
from adamolmo.comparison_plot import differences
from adamolmo.controllers_page import page
from adamolmo.errors import AdaMolmoError
from adamolmo.schema import COMPARISON, HYPERVOLUME, REGRET, write_table
from adamolmo.summary import collect

NAMES = ("lookup-mean", "two-stage-language", "static-full", "oracle")
CELL_BUDGETS = ("45pct", "100pct")


def requests(better: float, late: float, n=200, seed=0) -> pd.DataFrame:
    """Requests that are right with probability 0.5 + better and late with probability `late`; budget 20 ms."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "sample_id": [f"s{i:03}" for i in range(n)],
            "image_id": [f"i{i // 4:03}" for i in range(n)],
            "accuracy": (rng.random(n) < 0.5 + better).astype(float),
            "latency_ms": np.where(rng.random(n) < late, 25.0, 15.0),
            "controller_ms": 0.3,
        }
    )


@pytest.fixture
def cells() -> Cells:
    gains = dict(zip(NAMES, (0.0, 0.15, -0.1, 0.4), strict=True))
    tables = {
        (dataset, name, budget): requests(gain, 0.1)
        for dataset in ("okvqa", "text_vqa")
        for name, gain in gains.items()
        for budget in CELL_BUDGETS
    }
    return Cells(tables, {(dataset, budget): 20.0 for dataset in ("okvqa", "text_vqa") for budget in CELL_BUDGETS})


def test_differences_are_paired_and_pooled(cells, tmp_path):
    table = compare(cells, "lookup-mean", resamples=500, seed=0)
    write_table(table, tmp_path / "comparison.parquet", COMPARISON)
    rows = table.set_index(["dataset", "controller", "budget"])
    assert len(rows) == 3 * len(NAMES) * 2
    base = rows.loc[("all", "lookup-mean", "45pct")]
    assert (base["accuracy_difference_low"], base["accuracy_difference_high"]) == (0, 0)
    for dataset, n in (("okvqa", 200), ("all", 400)):
        row = rows.loc[(dataset, "two-stage-language", "45pct")]
        expected = requests(0.15, 0)["accuracy"].mean() - requests(0, 0)["accuracy"].mean()
        assert row["accuracy_difference"] == pytest.approx(expected)
        assert 0 < row["accuracy_difference_low"] < expected < row["accuracy_difference_high"]
        assert row["num_samples"] == n
        assert row["violation_rate"] == pytest.approx((requests(0, 0.1)["latency_ms"] > 20).mean())
        assert row["violation_difference"] == 0
    of_one, of_all = (rows.loc[(d, "two-stage-language", "45pct")] for d in ("okvqa", "all"))
    width = [row["accuracy_difference_high"] - row["accuracy_difference_low"] for row in (of_one, of_all)]
    assert width[1] < width[0]


def test_images_of_two_datasets_are_different_clusters(cells):
    pooled = cells.requests(["okvqa", "text_vqa"], "oracle", "45pct")
    assert pooled["image"].nunique() == 100
    assert pooled["question"].is_unique


def test_controllers_that_answered_other_questions_are_refused(cells):
    tables = dict(cells.tables)
    tables["okvqa", "static-full", "45pct"] = requests(0, 0, n=199)
    with pytest.raises(
        AdaMolmoError, match=r"static-full at 45pct on okvqa answered 199 questions and lookup-mean 200"
    ):
        compare(Cells(tables, cells.budgets_ms), "lookup-mean", 10, 0)


def confirmed(cells) -> dict:
    table = requests(0.2, 0)[["sample_id", "accuracy"]]
    return dict.fromkeys(cells.budgets_ms, table)


def test_regret_is_what_is_missing_to_the_oracle(cells, tmp_path):
    table = regret(cells, "oracle", confirmed(cells), resamples=200, seed=0)
    write_table(table, tmp_path / "regret.parquet", REGRET)
    rows = table.set_index(["dataset", "controller", "budget"])
    assert "oracle" not in set(table["controller"])
    own, best, lower = (requests(gain, 0)["accuracy"].mean() for gain in (0.15, 0.4, 0.2))
    row = rows.loc[("okvqa", "two-stage-language", "100pct")]
    assert row["regret"] == pytest.approx(best - own)
    assert row["regret_confirmed"] == pytest.approx(lower - own)
    assert row["regret_low"] < row["regret"] < row["regret_high"]


def test_hypervolume_is_a_share_of_the_area_up_to_the_largest_budget(cells, tmp_path):
    table = hypervolumes(cells, resamples=200, seed=0)
    write_table(table, tmp_path / "hypervolume.parquet", HYPERVOLUME)
    row = table.set_index(["dataset", "controller"]).loc[("okvqa", "lookup-mean")]
    assert row["hypervolume"] == pytest.approx(requests(0, 0)["accuracy"].mean() * (20 - 15) / 20)


def test_page_and_figure(cells, tmp_path):
    """The page of a study whose tables agree with each other: every controller in every section, no missing number."""
    comparison = compare(cells, "lookup-mean", 100, 0)
    summary = collect(write_cells(tmp_path, ("lookup-mean",), CELL_BUDGETS))
    trained = {"two-stage-language": {"overhead_ms": 0.412}}
    text = page(
        summary,
        comparison,
        hypervolumes(cells, 100, 0),
        regret(cells, "oracle", confirmed(cells), 100, 0),
        trained,
    )
    assert "nan" not in text
    for name in ("lookup-mean", "two-stage-language", "static-full"):
        assert text.count(f"| `{name}` |") >= 4
    assert "| 0.41 |" in text
    assert "- 45 %: `two-stage-language` (+" in text
    without = page(summary, comparison, hypervolumes(cells, 100, 0), None, trained)
    assert "Regret" not in without
    differences(comparison, tmp_path / "comparison")
    assert (tmp_path / "comparison.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_gain_that_misses_the_budget_more_often_is_not_recommended(cells):
    tables = dict(cells.tables)
    for dataset in ("okvqa", "text_vqa"):
        tables[dataset, "two-stage-language", "45pct"] = requests(0.15, 0.3)
    comparison = compare(Cells(tables, cells.budgets_ms), "lookup-mean", 100, 0)
    from adamolmo.controllers_page import recommendations

    tight, loose = recommendations(comparison[comparison["dataset"] == "all"], list(CELL_BUDGETS), "lookup-mean")
    assert tight.startswith("- 45 %: `lookup-mean`; no other gains")
    assert "two-stage-language" in loose
