"""The report opens with who wins, whether promises were kept, and how sure that is."""

from dataclasses import replace

import pytest
from study_results import BUDGETS, MIXTURE, break_promise, changed, plant, quiet_results

from adamolmo.report import answer
from adamolmo.report.findings import StudyResults


@pytest.fixture
def results(tmp_path) -> StudyResults:
    return quiet_results(tmp_path)


def test_the_answer_is_three_sentences(results):
    who, promises, sure = answer.sentences(results)
    assert who == (
        "No controller is shown to win at any kind of budget: to beat lookup-mean per request and 95 in 100 on time or "
        f"{MIXTURE} on average."
    )
    assert promises.startswith("Promises: 95 in 100 on time, kept by every controller (1.0 % late, ")
    assert "; on average, kept by every controller (mean latency " in promises
    assert sure == "With 900 questions, differences below about 0.8 points cannot be shown."


def test_what_may_be_broken_is_not_called_kept(results):
    """A few questions show little: beyond the promise, but not surely."""
    table = results.promises.assign(broken=False)
    table.loc[(table["budget"] == "mean") & (table["controller"] == "tier-only"), "found"] = 1.5
    promises = answer.sentences(replace(results, promises=table))[1]
    assert "; on average, not shown to be broken by any (mean latency " in promises and "to 150.0 %" in promises


def test_the_answer_names_winners_and_who_broke_a_promise(results):
    planted = plant(results, "mean", "two-stage-budget", 0.031, 0.001)
    who, promises, sure = answer.sentences(break_promise(planted, "p95", "tier-only"))
    assert who == (
        f"Budgets on average, two-stage-budget wins: +3.1 points (+2.1 to +4.1) over {MIXTURE}; nobody is shown to "
        "beat lookup-mean per request and 95 in 100 on time."
    )
    assert "Promises: 95 in 100 on time, broken by tier-only (1.0 % late" in promises
    for controller in planted.promises["controller"].unique():
        planted = break_promise(planted, "mean", controller)
    assert "on average, broken by every controller (" in answer.sentences(planted)[1]
    _, _, doubtful = answer.sentences(changed(planted, summary=results.summary.assign(clock="modelled")))
    assert doubtful.endswith("cannot be shown; 1 warning below.")


def test_winners_are_certain_keep_their_promise_and_gain_most(results):
    def at(budget, *gains):
        rows = results.judged[(results.judged["dataset"] == "all") & (results.judged["budget"] == budget)]
        for (controller, gain, low, broken), index in zip(gains, rows.index, strict=False):
            named = {
                "controller": controller,
                "gain": gain,
                "gain_low": low,
                "gain_high": gain + 0.02,
                "broken": broken,
            }
            results.judged.loc[index, list(named)] = list(named.values())

    results.judged["gain_low"] = -1.0
    at("60pct-p95", ("tier-only", 0.05, 0.03, False), ("two-stage-budget", 0.08, 0.06, True))
    at("80pct-mean", ("tier-only", 0.05, 0.03, False), ("lookup-mean", 0.01, -0.01, False))
    found = {row["budget"]: row for row in answer.winners(results)}
    assert {budget: row["controller"] for budget, row in found.items() if row["controller"]} == {
        "60pct-p95": "tier-only",
        "80pct-mean": "tier-only",
    }
    assert set(found) == set(BUDGETS)
    assert found["80pct-mean"]["against"] == MIXTURE and found["60pct-p95"]["against"] == "lookup-mean"
