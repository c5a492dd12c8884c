"""The page that sets the controllers side by side: every controller in every section, and what it recommends."""

from pathlib import Path

import pandas as pd
import pytest
import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.report import controllers_page
from adamolmo.report.controllers_page import CELL, recommended

TEMPLATE = Path(__file__).parents[3] / "workflow/report/controllers.md.j2"
NAMES = ("lookup-mean", "two-stage-language", "static-full", "oracle")
BUDGETS = ("45pct", "100pct")
TRAINED = {"two-stage-language": {"overhead_ms": 0.412}}


@pytest.fixture
def summary(tmp_path) -> pd.DataFrame:
    return collect(study_data.write_cells(tmp_path, NAMES, BUDGETS))


def page(summary, comparisons, hypervolumes, regret) -> str:
    return controllers_page.page(TEMPLATE, summary, comparisons, hypervolumes, {}, regret, TRAINED)


def regret(comparisons: pd.DataFrame) -> pd.DataFrame:
    of_oracle = comparisons[comparisons["controller"] == "oracle"].drop(columns="controller")
    rows = of_oracle.rename(columns=lambda name: name.replace("accuracy_gain", "regret").replace("other", "controller"))
    return rows.assign(**{f"regret_confirmed{end}": rows[f"regret{end}"] - 0.01 for end in ("", "_low", "_high")})


def test_every_controller_is_in_every_section_and_no_number_is_missing(summary):
    comparisons = study_data.comparisons(summary)
    text = page(summary, comparisons, study_data.hypervolumes(summary), regret(comparisons))
    assert "nan" not in text
    for name in ("lookup-mean", "two-stage-language", "static-full"):
        assert text.count(f"| `{name}` |") == 1 + 3 + (name != "lookup-mean") + 1 + 1 + 1
    assert text.count("| `oracle` |") == 3 + 1  # accuracy per dataset, hypervolume
    assert "| 0.41 |" in text
    two_stage = "tier before vision, the rest after the fixed prefix | budget, question; then the prompt | 1 |"
    assert f"| `two-stage-language` | {two_stage}" in text
    assert "| `lookup-mean` | before vision | budget | 1 |" in text
    assert "| `static-full` | never | nothing | 1 |" in text
    gain = comparisons.query(
        "dataset == 'all' and budget == 'all' and controller == 'static-full' and other == 'lookup-mean'"
    )["accuracy_gain"].item()
    (row,) = [line for line in section(text, "Difference to").splitlines() if line.startswith("| `static-full`")]
    assert row.split(" | ")[-1].startswith(f"{100 * gain:+.1f} (")
    late = summary.query("controller == 'static-full' and budget == '45pct'")
    rate = (late["violation_rate"] * late["num_samples"]).sum() / late["num_samples"].sum()
    (row,) = [line for line in section(text, "Violation rate").splitlines() if line.startswith("| `static-full`")]
    assert row.split(" | ")[1].startswith(f"{100 * rate:.1f} (")


def test_controllers_are_listed_in_the_order_of_every_legend(summary):
    text = page(summary, study_data.comparisons(summary), study_data.hypervolumes(summary), None)
    rows = [line.split("`")[1] for line in section(text, "okvqa").splitlines() if line.startswith("| `")]
    assert rows == ["static-full", "lookup-mean", "two-stage-language", "oracle"]


def test_violations_at_the_profile_speed_are_listed_where_it_was_another(summary):
    def text(cells):
        return page(cells, study_data.comparisons(cells), study_data.hypervolumes(cells), None)

    title = "Violation rate at the profile's speed"
    cells = summary[summary["controller"] != "oracle"]
    assert title not in text(cells)
    slow = cells.assign(slowdown=cells["controller"].map({"static-full": 1.5}).fillna(1.1))
    slow.loc[slow["controller"] == "static-full", "violation_rate_at_profile_speed"] = 0.02
    found = section(text(slow), title)
    assert "took 1.10 to 1.50 times as long" in found
    (row,) = [line for line in found.splitlines() if line.startswith("| `static-full`")]
    assert [cell.split()[0] for cell in row.split(" | ")[1:]] == ["2.0", "2.0"]


def test_a_study_without_the_oracle_has_no_regret(summary):
    cells = summary[summary["controller"] != "oracle"]
    text = page(cells, study_data.comparisons(cells), study_data.hypervolumes(cells), None)
    assert "Regret" not in text and "oracle" not in text


def test_what_misses_the_budget_more_often_or_ignores_it_is_not_recommended():
    gain = {"controller": "two-stage-language", "accuracy_gain": 0.1, "accuracy_gain_low": 0.05}
    gains = pd.DataFrame(
        [
            gain | {"budget": "45pct"},
            gain | {"budget": "100pct"},
            gain | {"budget": "100pct", "controller": "oracle"},
            gain | {"budget": "100pct", "controller": "static-full"},
            gain | {"budget": "100pct", "controller": "hybrid", "accuracy_gain_low": -0.01},
        ]
    )
    rates = pd.DataFrame(
        [
            {"controller": name, "budget": budget, "violation_rate": rate}
            for name, *rates in (("lookup-mean", 0.3, 0.3), ("two-stage-language", 0.31, 0.2), ("hybrid", 0.1, 0.1))
            for budget, rate in zip(BUDGETS, rates, strict=True)
        ]
    )
    found = recommended(gains.set_index(CELL), rates.set_index(CELL), "lookup-mean")
    assert found["45pct"] == []
    assert [row["controller"] for row in found["100pct"]] == ["two-stage-language"]


def test_a_recommended_controller_stands_with_its_gain_and_how_often_it_is_late(summary):
    cells = summary[summary["controller"] != "oracle"].assign(violation_rate_at_profile_speed=0.3)
    cells.loc[cells["controller"] == "two-stage-language", "violation_rate_at_profile_speed"] = 0.2
    gains = study_data.comparisons(cells)
    chosen = (gains["controller"] == "two-stage-language") & (gains["budget"] == "100pct")
    gains.loc[chosen, ["accuracy_gain", "accuracy_gain_low"]] = [0.1, 0.05]
    gains.loc[gains["budget"] == "45pct", "accuracy_gain_low"] = -0.01
    tight, loose = [
        line for line in page(cells, gains, study_data.hypervolumes(cells), None).splitlines() if line.startswith("- ")
    ]
    assert tight.startswith("- 45 %: `lookup-mean` (30 % of the requests late); no other gains")
    assert loose == "- 100 %: `two-stage-language` (+10.0 points; 20 % of the requests late, `lookup-mean`: 30 %)."


def section(text: str, title: str) -> str:
    return text.split(f"### {title}")[1].split("#")[0]
