"""The page that sets the controllers side by side: every controller in every section, and what it recommends."""

from pathlib import Path

import pandas as pd
import pytest
import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.report import controllers_page
from adamolmo.report.verdict import recommended

TEMPLATE = Path(__file__).parents[3] / "workflow/report/controllers.md.j2"
NAMES = ("lookup-mean", "two-stage-language", "static-full", "oracle")
BUDGETS = ("45pct", "60pct-p95", "70pct-mean", "100pct")  # from tight to loose
TRAINED = {"two-stage-language": {"overhead_ms": {"low": 0.412, "high": 0.8}}}


@pytest.fixture
def summary(tmp_path) -> pd.DataFrame:
    return collect(study_data.write_cells(tmp_path, NAMES, BUDGETS))


def page(summary: pd.DataFrame, **changes: pd.DataFrame | None) -> str:
    """Of the tables that follow from the summary, but for `changes`."""
    names = ("comparisons", "equal_latency", "promises", "hypervolumes")
    made = {name: getattr(study_data, name)(summary) for name in names} | {"regret": None}
    return controllers_page.page(TEMPLATE, summary, own={}, trained=TRAINED, **made | changes)


def regret(comparisons: pd.DataFrame) -> pd.DataFrame:
    of_oracle = comparisons[comparisons["controller"] == "oracle"].drop(columns="controller")
    rows = of_oracle.rename(columns=lambda name: name.replace("accuracy_gain", "regret").replace("other", "controller"))
    return rows.assign(**{f"regret_confirmed{end}": rows[f"regret{end}"] - 0.01 for end in ("", "_low", "_high")})


def test_every_controller_is_in_every_section_and_no_number_is_missing(summary):
    comparisons = study_data.comparisons(summary)
    text = page(summary, regret=regret(comparisons))
    assert "nan" not in text
    for name in ("lookup-mean", "two-stage-language", "static-full"):  # designs, 3 datasets, difference, equal latency,
        once = 1 + 3 + (name != "lookup-mean") + 1 + (name != "static-full") + 1 + 1 + 1  # promises, late, regret, area
        assert text.count(f"| `{name}` |") == once
    assert text.count("| `oracle` |") == 3 + 1  # accuracy per dataset, hypervolume
    assert "| 0.41 / 0.80 |" in text
    two_stage = "tier before vision, the rest after the fixed prefix | budget, size, question; then the prompt | 1 |"
    assert f"| `two-stage-language` | {two_stage}" in text
    assert "| `lookup-mean` | before vision | budget | 1 |" in text
    assert "| `static-full` | never | nothing | 1 |" in text
    late = summary.query("controller == 'static-full' and budget == '45pct'")
    rate = (late["violation_rate"] * late["num_samples"]).sum() / late["num_samples"].sum()
    assert row(section(text, "Violation rate"), "static-full")[0].startswith(f"{100 * rate:.1f} (")


def test_differences_stand_by_budget_and_then_as_means_over_each_kind(summary):
    gains = study_data.comparisons(summary).query(
        "dataset == 'all' and controller == 'static-full' and other == 'lookup-mean'"
    )
    gains = gains.set_index("budget")["accuracy_gain"]
    found = section(page(summary), "Difference to")
    titles = ["45 %", "60 % p95", "70 % mean", "100 %"]
    assert header(found) == [*titles, "per request, mean", "95 in 100 on time, mean", "on average, mean"]
    for cell, budget in zip(row(found, "static-full"), [*BUDGETS, "per-request", "p95", "mean"], strict=True):
        assert cell.startswith(f"{100 * gains[budget]:+.1f} (")


def test_gains_at_equal_mean_latency_are_listed_for_the_baseline_too(summary):
    gains = study_data.equal_latency(summary).query("dataset == 'all' and controller == 'lookup-mean'")
    gains = gains.set_index("budget")
    found = section(page(summary), "Gain at equal mean latency")
    for cell, budget in zip(row(found, "lookup-mean"), [*BUDGETS, "per-request", "p95", "mean"], strict=True):
        value, low, high = 100 * gains.loc[budget, ["gain", "gain_low", "gain_high"]].astype(float)
        assert cell == f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def test_promises_are_listed_with_what_was_found_and_whether_it_breaks_them(summary):
    """Of budgets and kinds that promise something, and of controllers that heed them."""
    promises = study_data.promises(summary).assign(broken=False)
    chosen = (promises["controller"] == "two-stage-language") & (promises["budget"] == "70pct-mean")
    promises.loc[chosen, ["found", "found_low", "found_high", "broken"]] = [1.07, 1.02, 1.12, True]
    found = section(page(summary, promises=promises), "Promises")
    assert header(found) == ["60 % p95", "70 % mean", "95 in 100 on time, mean", "on average, mean"]
    assert row(found, "two-stage-language")[1] == "107.0 (102.0-112.0) broken"
    late = promises.query("dataset == 'all' and controller == 'lookup-mean' and budget == '60pct-p95'").iloc[0]
    value, low, high = 100 * late[["found", "found_low", "found_high"]].astype(float)
    assert row(found, "lookup-mean")[0] == f"{value:.1f} ({low:.1f}-{high:.1f})"
    assert "static-full" not in found and "oracle" not in found


def test_a_study_that_promises_nothing_has_no_promises(summary):
    plain = summary[summary["budget"].isin(["45pct", "100pct"])]
    text = page(plain)
    assert "### Promises" not in text and "nan" not in text


def test_controllers_are_listed_in_the_order_of_every_legend(summary):
    text = page(summary)
    rows = [line.split("`")[1] for line in section(text, "okvqa").splitlines() if line.startswith("| `")]
    assert rows == ["static-full", "lookup-mean", "two-stage-language", "oracle"]


def test_violations_at_the_profile_speed_are_listed_where_it_was_another(summary):
    title = "Violation rate at the profile's speed"
    cells = summary[summary["controller"] != "oracle"]
    assert title not in page(cells)
    slow = cells.assign(slowdown=cells["controller"].map({"static-full": 1.5}).fillna(1.1))
    slow.loc[slow["controller"] == "static-full", "violation_rate_at_profile_speed"] = 0.02
    found = section(page(slow), title)
    assert "took 1.10 to 1.50 times as long" in found
    assert [cell.split()[0] for cell in row(found, "static-full")] == ["2.0"] * len(BUDGETS)


def test_a_study_without_the_oracle_has_no_regret(summary):
    cells = summary[summary["controller"] != "oracle"]
    text = page(cells)
    assert "Regret" not in text and "oracle" not in text


def test_whose_gain_is_uncertain_or_whose_promise_is_broken_is_not_recommended():
    sure = {"gain": 0.1, "gain_low": 0.05, "broken": False}
    judged = pd.DataFrame(
        [
            sure | {"budget": "60pct-p95", "controller": "hybrid", "gain": 0.2},
            sure | {"budget": "60pct-p95", "controller": "two-stage-budget", "gain": 0.3},
            sure | {"budget": "60pct-p95", "controller": "two-stage-language", "broken": True},
            sure | {"budget": "60pct-p95", "controller": "two-stage-router", "gain_low": -0.01},
            sure | {"budget": "45pct", "controller": "hybrid", "gain_low": 0.0},
            sure | {"budget": "p95", "controller": "single-stage-mlp"},
        ]
    )
    found = recommended(judged, BUDGETS)
    assert list(found) == list(BUDGETS)
    assert [row["controller"] for row in found.pop("60pct-p95")] == ["two-stage-budget", "hybrid"]  # best first
    assert all(rows == [] for rows in found.values())


def test_recommended_is_who_gains_by_the_measure_of_the_budget(summary):
    """Goodput at 45 %, accuracy at 95 in 100 on time, accuracy over mixtures on average; nobody at 100 %."""
    gains, mixtures = study_data.comparisons(summary), study_data.equal_latency(summary)
    gains = gains.assign(accuracy_gain_low=-1.0, goodput_gain_low=-1.0)
    mixtures = mixtures.assign(gain_low=-1.0)
    _gain(gains, "45pct", "goodput_gain", 0.1)
    _gain(gains, "60pct-p95", "accuracy_gain", 0.2)
    _gain(gains, "70pct-mean", "accuracy_gain", 0.9)  # no fair measure there
    _gain(gains, "100pct", "accuracy_gain", 0.9)  # nor there
    _gain(mixtures, "70pct-mean", "gain", 0.3)
    text = page(summary, comparisons=gains, equal_latency=mixtures)
    lines = [line for line in text.split("## Recommended use")[1].splitlines() if line.startswith("- ")]
    assert lines == [
        "- 45 %, goodput (right and on time), against `lookup-mean`: "
        "`two-stage-language` (+10.0 (+9.0 to +11.0) points).",
        "- 60 % p95, accuracy at equal lateness, against `lookup-mean`: "
        "`two-stage-language` (+20.0 (+19.0 to +21.0) points).",
        "- 70 % mean, accuracy at equal mean latency, against the best mixture of two static configurations: "
        "`two-stage-language` (+30.0 (+29.0 to +31.0) points).",
        "- 100 %, goodput (right and on time), against `lookup-mean`: nobody gains with certainty.",
    ]


def _gain(table: pd.DataFrame, budget: str, column: str, gain: float) -> None:
    chosen = (table["budget"] == budget) & (table["controller"] == "two-stage-language")
    table.loc[chosen, [column, f"{column}_low", f"{column}_high"]] = [gain, gain - 0.01, gain + 0.01]


def section(text: str, title: str) -> str:
    return text.split(f"### {title}")[1].split("#")[0]


def header(section: str) -> list[str]:
    (line,) = [line for line in section.splitlines() if line.startswith("| Controller |")]
    return line.strip("| ").split(" | ")[1:]


def row(section: str, controller: str) -> list[str]:
    (line,) = [line for line in section.splitlines() if line.startswith(f"| `{controller}` |")]
    return line.strip("| ").split(" | ")[1:]
