"""The report says what the numbers say: winners and how surely, missed budgets, drift, flat knobs; and no more."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import study_data
from PIL import Image

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.summary import collect
from adamolmo.files.model import Manifest
from adamolmo.knobs import KnobConfig
from adamolmo.report import page
from adamolmo.report.findings import StudyResults, first_paragraph, flat_knobs, missed_budgets
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph

TEMPLATE = Path(__file__).parents[3] / "workflow/report/report.html.j2"
CONTROLLERS = ["static-full", "lookup-mean", "tier-only", "two-stage-budget"]
DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    0[label = "all", color = "0.1 0.6 0.85", style="rounded"];
    1[label = "evaluate", color = "0.1 0.6 0.85", style="rounded"];
    2[label = "prepare_data", color = "0.1 0.6 0.85", style="rounded"];
    3[label = "core_exp", color = "0.1 0.6 0.85", style="rounded"];
    1 -> 0
    2 -> 1
    2 -> 3
    3 -> 1
}"""


@pytest.fixture
def results(tmp_path) -> StudyResults:
    """Nothing is shown: all p-values are 0.5, no drift, budgets that are met."""
    return _results(tmp_path, CONTROLLERS)


def _results(folder: Path, controllers: list[str]) -> StudyResults:
    summary = collect(study_data.write_cells(folder, controllers, ["60pct", "105pct"]))
    tightest_ms = summary.groupby("dataset")["budget_ms"].transform("min")
    return StudyResults(
        summary=summary.assign(latency_p50_ms=0.9 * tightest_ms, violation_rate=0.01),
        comparisons=study_data.comparisons(summary).assign(accuracy_p=0.5),
        profile=_without_chance(study_data.profile(samples=30)),
        timing=dict.fromkeys(study_data.DATASETS, study_data.TIMING),
    )


def _without_chance(profile: pd.DataFrame) -> pd.DataFrame:
    """Every question is answered as well as its config answers on average: no knob looks flat by bad luck."""
    configs = zip(profile["dataset"], profile["tier"], profile["top_k"], profile["num_active_blocks"], strict=True)
    return profile.assign(accuracy=[study_data.accuracy(d, KnobConfig(t, k, b)) for d, t, k, b in configs])


def _with(results: StudyResults, **changes) -> StudyResults:
    return StudyResults(**vars(results) | changes)


def _plant(results: StudyResults, dataset: str, controller: str, gain: float, p: float) -> StudyResults:
    table = results.comparisons.copy()
    chosen = (table["dataset"] == dataset) & (table["controller"] == controller) & (table["other"] == "lookup-mean")
    values = {
        "accuracy_gain": gain,
        "accuracy_gain_low": gain - 0.01,
        "accuracy_gain_high": gain + 0.01,
        "accuracy_p": p,
    }
    table.loc[chosen, list(values)] = list(values.values())
    return _with(results, comparisons=table)


def test_a_shown_gain_is_named_with_its_interval_and_corrected_p(results):
    text = " ".join(first_paragraph(_plant(results, "okvqa", "two-stage-budget", 0.031, 0.001)))
    assert (
        "On okvqa, two-stage-budget beats lookup-mean: +3.1 points (95 % interval +2.1 to +4.1, p = 0.012)." in text
    )  # 12 comparisons
    assert "On coco_2014_vqa, text_vqa and all datasets together, no controller that keeps its budgets as often" in text
    assert "Warning" not in text


def test_no_winner_without_support_and_losses_are_named(results):
    text = " ".join(first_paragraph(_plant(results, "okvqa", "two-stage-budget", 0.031, 0.02)))  # 0.24 when corrected
    assert " beats " not in text
    text = " ".join(first_paragraph(_plant(results, "text_vqa", "tier-only", -0.05, 0.001)))
    assert "Shown to be less accurate than lookup-mean: tier-only on text_vqa (-5.0 points)." in text


def test_a_gain_on_all_datasets_together_is_named(results):
    text = " ".join(first_paragraph(_plant(results, "all", "two-stage-budget", 0.02, 0.001)))
    assert "On all datasets together, two-stage-budget beats lookup-mean: +2.0 points" in text


def test_the_oracle_wins_nothing_and_counts_nowhere(results, tmp_path):
    assert first_paragraph(_results(tmp_path, [*CONTROLLERS, "oracle"])) == first_paragraph(results)


def test_a_gain_bought_with_missed_budgets_is_no_win(results):
    planted = _plant(results, "okvqa", "tier-only", 0.08, 0.001)
    summary = planted.summary.copy()
    late = (summary["controller"] == "tier-only") & (summary["budget"] == "60pct")
    summary.loc[late, "latency_p50_ms"] = 2 * summary["budget_ms"]
    text = " ".join(first_paragraph(_with(planted, summary=summary)))
    assert " beats " not in text
    assert "Feasible budgets missed by the median request: tier-only 3 of 6." in text


def test_misses_that_the_machine_explains_cost_no_win(results):
    planted = _plant(results, "okvqa", "tier-only", 0.08, 0.001)
    late = planted.summary["controller"] == "tier-only"
    slow = planted.summary.assign(slowdown=late.map({True: 3.0, False: 1.0}))
    slow.loc[late, "latency_p50_ms"] = 2 * slow["budget_ms"]
    text = " ".join(first_paragraph(_with(planted, summary=slow)))
    assert "okvqa, tier-only beats" in text
    assert "Feasible budgets missed by the median request: tier-only 6 of 6." in text


def test_a_configuration_that_heeds_no_budget_wins_nothing(results):
    """Where the baseline is late everywhere, it is late no more often."""
    planted = _plant(results, "okvqa", "static-full", 0.08, 0.001)
    assert " beats " not in " ".join(first_paragraph(planted))
    assert "okvqa, tier-only beats" in " ".join(first_paragraph(_plant(results, "okvqa", "tier-only", 0.08, 0.001)))


def test_budgets_that_nothing_meets_and_the_p95_promise(results):
    summary = results.summary.assign(feasible=results.summary["budget"] != "60pct")
    text = " ".join(first_paragraph(_with(results, summary=summary)))
    assert "No configuration meets the budget 60pct on coco_2014_vqa (" in text
    assert "in 24 of 24 cells" in text
    few = " ".join(first_paragraph(_with(results, summary=summary.assign(num_samples=60))))
    assert "With fewer than 90 questions no cell can show that its p95 is within the budget" in few


def test_drift_estimates_failures_and_a_modelled_clock_are_warned_of(results):
    timing = results.timing | {"okvqa": study_data.TIMING | {"drift_pct": 33.1, "estimate_error_pct": 13.9}}
    summary = results.summary.assign(num_failed=2, clock="modelled")
    text = " ".join(first_paragraph(_with(results, timing=timing, summary=summary)))
    assert "Warning: latency drifted during the profile by 33.1 % on okvqa (limit 5 %)" in text
    assert "estimates rather than measures are off by 13.9 % on okvqa" in text
    assert "Warning: unreadable images were left out: 2 on coco_2014_vqa" in text
    assert "Warning: latencies are modelled" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "drifted" not in " ".join(first_paragraph(_with(results, timing=untimed)))


def test_cells_whose_device_was_slower_are_warned_of(results):
    assert "as fast" not in " ".join(first_paragraph(results))
    slow = results.summary.copy()
    cell = slow.query("dataset == 'okvqa' and controller == 'static-full' and budget == '60pct'").index
    slow.loc[cell, ["slowdown", "slowdown_low", "slowdown_high"]] = [1.3, 1.04, 1.4]
    assert "not as fast" not in " ".join(first_paragraph(_with(results, summary=slow)))  # it may have been 4 %
    slow.loc[cell, "slowdown_low"] = 1.2
    text = " ".join(first_paragraph(_with(results, summary=slow)))
    assert "one and the same request took 1.00 to 1.30 times as long on okvqa;" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "not as fast" not in " ".join(first_paragraph(_with(results, summary=slow, timing=untimed)))


def test_misses_at_the_speed_of_the_profile_are_told(results):
    """Every median is 20 % over its budget in cells that ran 1.3 times as long, and in those of tier-only 1.1 times."""
    late = results.summary.assign(latency_p50_ms=1.2 * results.summary["budget_ms"], slowdown=1.0)
    slowdown = late["controller"].map({"tier-only": 1.1}).fillna(1.3)
    before, after = (missed_budgets(_with(results, summary=table)) for table in (late, late.assign(slowdown=slowdown)))
    cells = int((late["feasible"] & (late["controller"] == "tier-only")).sum())
    assert f"tier-only {cells} of {cells}" in before[-2]
    assert after == [*before[:-1], f"Had the device been as fast as during the profile: tier-only {cells}.", before[-1]]
    fast = missed_budgets(_with(results, summary=late.assign(slowdown=1.3)))
    assert fast[-2] == "Had the device been as fast as during the profile: none."


def test_a_knob_without_effect_on_accuracy_or_time_is_called_flat(results):
    assert flat_knobs(results) == []
    profile = results.profile.copy()
    full = profile[(profile["tier"] == "high") & (profile["top_k"] == 8)]
    same = full[full["num_active_blocks"] == 16].set_index(["dataset", "sample_id"])["accuracy"]
    profile["accuracy"] = same.loc[list(zip(profile["dataset"], profile["sample_id"], strict=True))].to_numpy()
    flat = flat_knobs(_with(results, profile=profile))
    assert len(flat) == 3
    assert all("+0.0 points lost, +0.0 to +0.0" in text for text in flat)
    instant = results.profile.assign(latency_ms=10.0)
    assert sum("0 % of the time saved" in text for text in flat_knobs(_with(results, profile=instant))) == 3


def test_a_study_of_one_controller_says_so(results):
    summary = results.summary[results.summary["controller"] == "static-full"]
    text = first_paragraph(_with(results, summary=summary, comparisons=results.comparisons.iloc[:0]))
    assert text[0] == "The study has one controller only, static-full, so nothing is compared."


def test_the_rule_graph_is_read_and_drawn_downwards():
    graph = read_rule_graph(DOT)
    assert graph == {"evaluate": set(), "prepare_data": {"evaluate", "core_exp"}, "core_exp": {"evaluate"}}
    svg = draw_rule_graph(graph)
    places = {name: float(y) for y, name in re.findall(r'<text x="[\d.]+" y="([\d.]+)">(\w+)</text>', svg)}
    assert places["prepare_data"] < places["core_exp"] < places["evaluate"]
    assert svg.count("<path") == 2  # prepare_data -> evaluate is implied
    with pytest.raises(AdaMolmoError, match="has no rule"):
        read_rule_graph("digraph {}")


@pytest.fixture
def written(results, tmp_path) -> Path:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "pareto.png")
    html = page.page(
        TEMPLATE,
        _plant(results, "okvqa", "two-stage-budget", 0.031, 0.001),
        [tmp_path / "pareto.png"],
        {"pareto": "How to read it: 1 < 2 & so on."},
        manifest=Manifest(num_parameters=2_400_000, num_blocks=16, dtype="float32", checksum="0" * 64),
        configuration={"seed": 0, "budgets": ["60pct"]},
        rule_graph=DOT,
    )
    path = tmp_path / "report.html"
    path.write_text(html)
    return path


def test_the_page_has_all_parts_and_refers_to_nothing_outside(written):
    html = written.read_text()
    assert "two-stage-budget beats lookup-mean" in html
    assert "How to read it: 1 &lt; 2 &amp; so on." in html
    assert "a made-up processor" in html and "2.4 million parameters" in html
    assert "- 60pct" in html and "<svg" in html
    references = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)', html)
    assert all(target.startswith(("data:", "#")) for pair in references for target in pair if target)
    assert "http://" not in html and "https://" not in html and "<script" not in html


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed")
def test_a_real_browser_shows_the_page_and_asks_for_nothing(written, tmp_path):
    """The browser's own network log has no request but the file itself; the DOM has the loaded figure."""
    log = tmp_path / "net.json"
    run = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        + ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync"]
        + [f"--log-net-log={log}", "--dump-dom", written.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert "two-stage-budget beats lookup-mean" in run.stdout
    assert 'id="pareto"' in run.stdout and "data:image/png;base64," in run.stdout
    text = log.read_text()
    requested = set(re.findall(r'"url":"(?!data:|chrome)([^"]*)"', text))
    assert requested, "the log names no request, not even the page"
    own = re.compile(r"https?://([\w-]+\.)*(google|googleapis|gvt1)\.com")  # the browser's, not the page's
    assert {url for url in requested if not url.startswith("file://") and not own.match(url)} == set()
