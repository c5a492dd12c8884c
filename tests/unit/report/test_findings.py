"""The report says what the numbers say: winners by kind of budget and how surely, promises, drift; no more."""

import pytest
import study_data
from study_results import CONTROLLERS, MIXTURE, break_promise, changed, plant, quiet_results

from adamolmo.report import answer
from adamolmo.report.findings import (
    StudyResults,
    findings,
    flat_knobs,
    kept_promises,
    missed_budgets,
    resolution,
    warnings,
)
from adamolmo.statistics.intervals import clopper_pearson


@pytest.fixture
def results(tmp_path) -> StudyResults:
    return quiet_results(tmp_path)


def _text(results: StudyResults) -> str:
    return " ".join([*findings(results), *warnings(results)])


@pytest.mark.parametrize(
    ("kind", "words", "against"),
    [
        ("per-request", "per request", "lookup-mean"),
        ("p95", "95 in 100 on time", "lookup-mean"),
        ("mean", "on average", MIXTURE),
    ],
)
def test_a_shown_gain_is_named_by_kind_with_its_interval_and_corrected_p(results, kind, words, against):
    """2 controllers x 2 kinds, and 3 controllers against mixtures, each on 3 datasets and on all: 28 comparisons."""
    text = _text(plant(results, kind, "two-stage-budget", 0.031, 0.001))
    expected = f"two-stage-budget beats {against}: +3.1 points (95 % interval +2.1 to +4.1, p = 0.028)."
    assert f"Budgets {words}: {expected}" in text
    assert text.count(" beats ") == 1
    assert text.count("no controller is shown to beat") == 2
    assert "All p-values are corrected for 28 comparisons (Holm)" in text


def test_no_winner_without_support_and_the_largest_gain_is_told(results):
    text = _text(plant(results, "mean", "two-stage-budget", 0.25, 0.0018))  # 0.0504 when corrected
    assert " beats " not in text
    assert (
        f"Budgets on average: no controller is shown to beat {MIXTURE}; the largest gain is that of two-stage-budget, "
        "+25.0 points (95 % interval +24.0 to +26.0, p = 0.050)." in text
    )


def test_losses_are_named(results):
    text = _text(plant(results, "p95", "tier-only", -0.05, 0.001))
    assert "Shown to be below lookup-mean: tier-only (-5.0 points)." in text
    assert " beats " not in text


def test_a_gain_on_one_dataset_is_named_as_such(results):
    text = _text(plant(results, "p95", "two-stage-budget", 0.031, 0.001, dataset="okvqa"))
    assert "Budgets 95 in 100 on time: no controller is shown to beat lookup-mean" in text
    assert "On single datasets: two-stage-budget on okvqa (+3.1 points)." in text


def test_of_several_that_gain_the_best_one_is_named(results):
    planted = plant(plant(results, "p95", "two-stage-budget", 0.02, 0.001), "p95", "tier-only", 0.04, 0.001)
    assert "Budgets 95 in 100 on time: tier-only beats lookup-mean: +4.0 points" in _text(planted)


def test_the_oracle_wins_nothing_and_counts_nowhere(results, tmp_path):
    with_oracle = quiet_results(tmp_path, [*CONTROLLERS, "oracle"])
    assert findings(with_oracle) == findings(results)
    assert answer.sentences(with_oracle) == answer.sentences(results)


@pytest.mark.parametrize("kind", ["p95", "mean"])
def test_a_gain_bought_with_a_broken_promise_is_no_win(results, kind):
    planted = plant(results, kind, "tier-only", 0.08, 0.001)
    assert "tier-only beats" in _text(planted)
    text = _text(break_promise(planted, kind, "tier-only"))
    assert " beats " not in text
    assert "shown to be broken by tier-only." in text
    assert "tier-only beats" in _text(break_promise(planted, kind, "two-stage-budget"))


def test_accuracy_bought_with_late_answers_is_no_gain_per_request(results):
    """The measure is goodput there: right and on time."""
    table = results.comparisons.copy()
    chosen = (table["controller"] == "tier-only") & (table["budget"] == "per-request")
    table.loc[chosen, ["accuracy_gain", "accuracy_gain_low", "accuracy_p"]] = [0.08, 0.07, 0.0001]
    assert " beats " not in _text(changed(results, comparisons=table))


@pytest.mark.parametrize("kind", ["per-request", "p95", "mean"])
def test_a_configuration_that_heeds_no_budget_wins_nothing(results, kind):
    assert " beats " not in _text(plant(results, kind, "static-full", 0.08, 0.0001))
    assert "tier-only beats" in _text(plant(results, kind, "tier-only", 0.08, 0.0001))


def test_promises_are_told_with_what_was_found(results):
    """Every cell of the made-up study has 300 requests, 1 % of them late; static-full promises nothing."""
    sentences = kept_promises(results)
    late = clopper_pearson(3 * 3 * 2 * 3, 300 * 3 * 2 * 3)  # of three controllers, two budgets, three datasets
    assert sentences[0] == (
        f"Promised 95 in 100 on time: 1.0 % of the requests were late ({100 * late.low:.1f} to {100 * late.high:.1f} "
        "%), at most 5 % may be; no controller is shown to break it."
    )
    found = results.promises.query("dataset == 'all' and budget == 'mean'")["found"]
    assert len(found) == 3
    assert sentences[1] == (
        f"Promised on average: mean latency was {100 * found.min():.1f} to {100 * found.max():.1f} % of the budget, "
        "by controller; no controller is shown to break it."
    )
    assert len(sentences) == 2
    both = break_promise(break_promise(results, "mean", "two-stage-budget"), "mean", "lookup-mean")
    assert kept_promises(both)[1].endswith("; shown to be broken by lookup-mean and two-stage-budget.")
    assert kept_promises(break_promise(results, "mean", "tier-only", dataset="okvqa")) == sentences


def test_a_study_that_promises_nothing_tells_of_no_promise(results):
    none = results.summary[~results.summary["budget"].str.contains("-")]
    assert kept_promises(changed(results, summary=none, promises=results.promises.iloc[:0])) == []


def test_promises_at_budgets_that_nothing_meets_are_told_of_all_requests(results):
    nothing = results.summary.assign(feasible=False)
    assert kept_promises(changed(results, summary=nothing)) == kept_promises(results)


def test_how_small_a_difference_can_be_shown_is_told(results):
    """Intervals over a kind are 1.6 points wide in the made-up study, half of that is 0.8."""
    assert resolution(results) == "With 900 questions, differences below about 0.8 points cannot be shown."
    one = results.summary[results.summary["controller"] == "static-full"]
    empty = {"comparisons": results.comparisons.iloc[:0], "equal_latency": results.equal_latency.iloc[:0]}
    assert resolution(changed(results, summary=one, **empty)) is None


def test_budgets_that_nothing_meets_are_named(results):
    summary = results.summary.assign(feasible=results.summary["budget"] != "60pct")
    text = _text(changed(results, summary=summary))
    (ms,) = summary.query("dataset == 'okvqa' and budget == '60pct'")["budget_ms"].unique()
    assert "No configuration meets the budget 60pct on coco_2014_vqa (" in text
    assert f"60pct on okvqa ({ms:.3g} ms)" in text
    assert "60pct-p95 on" not in text


def test_only_budgets_per_request_are_missed_by_a_median(results):
    """Of a promise `kept_promises` tells; a static configuration aims at no budget."""
    late = results.summary.assign(latency_p50_ms=2 * results.summary["budget_ms"])
    assert missed_budgets(results) == []
    (said,) = missed_budgets(changed(results, summary=late))
    assert said == (
        "Feasible budgets per request that the median request missed: lookup-mean 6 of 6, tier-only 6 of 6, "
        "two-stage-budget 6 of 6."
    )


def test_drift_estimates_failures_and_a_modelled_clock_are_warned_of(results):
    timing = results.timing | {"okvqa": study_data.TIMING | {"drift_pct": 33.1, "estimate_error_pct": 13.9}}
    summary = results.summary.assign(num_failed=2, clock="modelled")
    text = " ".join(warnings(changed(results, timing=timing, summary=summary)))
    assert "latency drifted during the profile by 33.1 % on okvqa (limit 5 %)" in text
    assert "estimates rather than measures are off by 13.9 % on okvqa" in text
    assert "unreadable images were left out: 2 on coco_2014_vqa" in text
    assert "latencies are modelled" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "drifted" not in " ".join(warnings(changed(results, timing=untimed)))


def test_cells_whose_device_was_slower_are_warned_of(results):
    assert "as fast" not in " ".join(warnings(results))
    slow = results.summary.copy()
    cell = slow.query("dataset == 'okvqa' and controller == 'static-full' and budget == '60pct'").index
    slow.loc[cell, ["slowdown", "slowdown_low", "slowdown_high"]] = [1.3, 1.04, 1.4]
    assert "not as fast" not in " ".join(warnings(changed(results, summary=slow)))  # it may have been 4 %
    slow.loc[cell, "slowdown_low"] = 1.2
    text = " ".join(warnings(changed(results, summary=slow)))
    assert "one and the same request took 1.00 to 1.30 times as long on okvqa;" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "not as fast" not in " ".join(warnings(changed(results, summary=slow, timing=untimed)))


def test_misses_at_the_speed_of_the_profile_are_told(results):
    """Every median is 20 % over its budget in cells that ran 1.3 times as long, and in those of tier-only 1.1 times."""
    late = results.summary.assign(latency_p50_ms=1.2 * results.summary["budget_ms"], slowdown=1.0)
    slowdown = late["controller"].map({"tier-only": 1.1}).fillna(1.3)
    before, after = (
        missed_budgets(changed(results, summary=table)) for table in (late, late.assign(slowdown=slowdown))
    )
    assert "tier-only 6 of 6" in before[-1]
    assert after == [*before, "Had the device been as fast as during the profile: tier-only 6 of 6."]
    fast = missed_budgets(changed(results, summary=late.assign(slowdown=1.3)))
    assert fast[-1] == "Had the device been as fast as during the profile: none."


def test_a_knob_without_effect_on_accuracy_or_time_is_called_flat(results):
    assert flat_knobs(results) == []
    profile = results.profile.copy()
    full = profile[(profile["tier"] == "high") & (profile["top_k"] == 8)]
    same = full[full["num_active_blocks"] == 16].set_index(["dataset", "sample_id"])["accuracy"]
    profile["accuracy"] = same.loc[list(zip(profile["dataset"], profile["sample_id"], strict=True))].to_numpy()
    flat = flat_knobs(changed(results, profile=profile))
    assert len(flat) == 3
    assert all("+0.0 points lost, +0.0 to +0.0" in text for text in flat)
    instant = results.profile.assign(latency_ms=10.0)
    assert sum("0 % of the time saved" in text for text in flat_knobs(changed(results, profile=instant))) == 3


def test_a_study_of_one_controller_says_so(results):
    summary = results.summary[results.summary["controller"] == "static-full"]
    mixture = results.equal_latency[results.equal_latency["controller"] == "static-full"]
    empty = {"comparisons": results.comparisons.iloc[:0], "promises": results.promises.iloc[:0]}
    text = findings(changed(results, summary=summary, equal_latency=mixture, **empty))
    assert text[0] == "The study has one controller only, static-full, so nothing is compared."
