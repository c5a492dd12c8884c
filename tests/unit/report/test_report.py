"""The report says what the numbers say: winners by kind of budget and how surely, promises, drift; no more."""

import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import study_data
from PIL import Image
from playwright.sync_api import sync_playwright

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.summary import collect
from adamolmo.files.model import Manifest
from adamolmo.knobs import KnobConfig
from adamolmo.report import answer, page
from adamolmo.report.findings import (
    StudyResults,
    findings,
    flat_knobs,
    kept_promises,
    missed_budgets,
    resolution,
    warnings,
)
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph
from adamolmo.statistics.intervals import clopper_pearson

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


BUDGETS = ["60pct", "105pct", "60pct-p95", "80pct-p95", "60pct-mean", "80pct-mean"]
MIXTURE = "the best mixture of two static configurations"


@pytest.fixture
def results(tmp_path) -> StudyResults:
    """Nothing is shown: all p-values are 0.5, no drift, budgets that are met and promises that are kept."""
    return _results(tmp_path, CONTROLLERS)


def _results(folder: Path, controllers: list[str]) -> StudyResults:
    summary = collect(study_data.write_cells(folder, controllers, BUDGETS))
    tightest_ms = summary.groupby("dataset")["budget_ms"].transform("min")
    quiet = {"latency_p50_ms": 0.9 * tightest_ms, "latency_mean_ms": 0.9 * tightest_ms, "violation_rate": 0.01}
    return StudyResults(
        summary=summary.assign(**quiet),
        comparisons=study_data.comparisons(summary).assign(accuracy_p=0.5, goodput_p=0.5),
        equal_latency=study_data.equal_latency(summary).assign(gain_p=0.5),
        promises=study_data.promises(summary.assign(**quiet)),
        profile=_without_chance(study_data.profile(samples=30)),
        timing=dict.fromkeys(study_data.DATASETS, study_data.TIMING),
    )


def _without_chance(profile: pd.DataFrame) -> pd.DataFrame:
    """Every question is answered as well as its config answers on average: no knob looks flat by bad luck."""
    configs = zip(profile["dataset"], profile["tier"], profile["top_k"], profile["num_active_blocks"], strict=True)
    return profile.assign(accuracy=[study_data.accuracy(d, KnobConfig(t, k, b)) for d, t, k, b in configs])


def _with(results: StudyResults, **changes) -> StudyResults:
    return replace(results, **changes)


def _plant(
    results: StudyResults, kind: str, controller: str, gain: float, p: float, dataset: str = "all"
) -> StudyResults:
    """A gain by the measure of the kind, over its budgets."""
    measure = {"per-request": "goodput", "mean": ""}.get(kind, "accuracy")
    table = (results.comparisons if measure else results.equal_latency).copy()
    chosen = (table["dataset"] == dataset) & (table["controller"] == controller) & (table["budget"] == kind)
    if measure:
        chosen &= table["other"] == "lookup-mean"
    column, p_column = (f"{measure}_gain", f"{measure}_p") if measure else ("gain", "gain_p")
    values = {column: gain, f"{column}_low": gain - 0.01, f"{column}_high": gain + 0.01, p_column: p}
    table.loc[chosen, list(values)] = list(values.values())
    return _with(results, **{"comparisons" if measure else "equal_latency": table})


def _break(results: StudyResults, kind: str, controller: str, dataset: str = "all") -> StudyResults:
    table = results.promises
    chosen = (table["dataset"] == dataset) & (table["controller"] == controller) & (table["budget"] == kind)
    assert chosen.sum() == 1
    return _with(results, promises=table.assign(broken=table["broken"] | chosen))


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
    text = _text(_plant(results, kind, "two-stage-budget", 0.031, 0.001))
    expected = f"two-stage-budget beats {against}: +3.1 points (95 % interval +2.1 to +4.1, p = 0.028)."
    assert f"Budgets {words}: {expected}" in text
    assert text.count(" beats ") == 1
    assert text.count("no controller is shown to beat") == 2
    assert "All p-values are corrected for 28 comparisons (Holm)" in text


def test_no_winner_without_support_and_the_largest_gain_is_told(results):
    text = _text(_plant(results, "mean", "two-stage-budget", 0.25, 0.0018))  # 0.0504 when corrected
    assert " beats " not in text
    assert (
        f"Budgets on average: no controller is shown to beat {MIXTURE}; the largest gain is that of two-stage-budget, "
        "+25.0 points (95 % interval +24.0 to +26.0, p = 0.050)." in text
    )


def test_losses_are_named(results):
    text = _text(_plant(results, "p95", "tier-only", -0.05, 0.001))
    assert "Shown to be below lookup-mean: tier-only (-5.0 points)." in text
    assert " beats " not in text


def test_a_gain_on_one_dataset_is_named_as_such(results):
    text = _text(_plant(results, "p95", "two-stage-budget", 0.031, 0.001, dataset="okvqa"))
    assert "Budgets 95 in 100 on time: no controller is shown to beat lookup-mean" in text
    assert "On single datasets: two-stage-budget on okvqa (+3.1 points)." in text


def test_of_several_that_gain_the_best_one_is_named(results):
    planted = _plant(_plant(results, "p95", "two-stage-budget", 0.02, 0.001), "p95", "tier-only", 0.04, 0.001)
    assert "Budgets 95 in 100 on time: tier-only beats lookup-mean: +4.0 points" in _text(planted)


def test_the_oracle_wins_nothing_and_counts_nowhere(results, tmp_path):
    with_oracle = _results(tmp_path, [*CONTROLLERS, "oracle"])
    assert findings(with_oracle) == findings(results)
    assert answer.sentences(with_oracle) == answer.sentences(results)


@pytest.mark.parametrize("kind", ["p95", "mean"])
def test_a_gain_bought_with_a_broken_promise_is_no_win(results, kind):
    planted = _plant(results, kind, "tier-only", 0.08, 0.001)
    assert "tier-only beats" in _text(planted)
    text = _text(_break(planted, kind, "tier-only"))
    assert " beats " not in text
    assert "shown to be broken by tier-only." in text
    assert "tier-only beats" in _text(_break(planted, kind, "two-stage-budget"))


def test_accuracy_bought_with_late_answers_is_no_gain_per_request(results):
    """The measure is goodput there: right and on time."""
    table = results.comparisons.copy()
    chosen = (table["controller"] == "tier-only") & (table["budget"] == "per-request")
    table.loc[chosen, ["accuracy_gain", "accuracy_gain_low", "accuracy_p"]] = [0.08, 0.07, 0.0001]
    assert " beats " not in _text(_with(results, comparisons=table))


@pytest.mark.parametrize("kind", ["per-request", "p95", "mean"])
def test_a_configuration_that_heeds_no_budget_wins_nothing(results, kind):
    assert " beats " not in _text(_plant(results, kind, "static-full", 0.08, 0.0001))
    assert "tier-only beats" in _text(_plant(results, kind, "tier-only", 0.08, 0.0001))


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
    both = _break(_break(results, "mean", "two-stage-budget"), "mean", "lookup-mean")
    assert kept_promises(both)[1].endswith("; shown to be broken by lookup-mean and two-stage-budget.")
    assert kept_promises(_break(results, "mean", "tier-only", dataset="okvqa")) == sentences


def test_a_study_that_promises_nothing_tells_of_no_promise(results):
    none = results.summary[~results.summary["budget"].str.contains("-")]
    assert kept_promises(_with(results, summary=none, promises=results.promises.iloc[:0])) == []


def test_promises_at_budgets_that_nothing_meets_are_told_of_all_requests(results):
    nothing = results.summary.assign(feasible=False)
    assert kept_promises(_with(results, summary=nothing)) == kept_promises(results)


def test_how_small_a_difference_can_be_shown_is_told(results):
    """Intervals over a kind are 1.6 points wide in the made-up study, half of that is 0.8."""
    assert resolution(results) == "With 900 questions, differences below about 0.8 points cannot be shown."
    one = results.summary[results.summary["controller"] == "static-full"]
    empty = {"comparisons": results.comparisons.iloc[:0], "equal_latency": results.equal_latency.iloc[:0]}
    assert resolution(_with(results, summary=one, **empty)) is None


def test_budgets_that_nothing_meets_are_named(results):
    summary = results.summary.assign(feasible=results.summary["budget"] != "60pct")
    text = _text(_with(results, summary=summary))
    (ms,) = summary.query("dataset == 'okvqa' and budget == '60pct'")["budget_ms"].unique()
    assert "No configuration meets the budget 60pct on coco_2014_vqa (" in text
    assert f"60pct on okvqa ({ms:.3g} ms)" in text
    assert "60pct-p95 on" not in text


def test_only_budgets_per_request_are_missed_by_a_median(results):
    """Of a promise `kept_promises` tells; a static configuration aims at no budget."""
    late = results.summary.assign(latency_p50_ms=2 * results.summary["budget_ms"])
    assert missed_budgets(results) == []
    (said,) = missed_budgets(_with(results, summary=late))
    assert said == (
        "Feasible budgets per request that the median request missed: lookup-mean 6 of 6, tier-only 6 of 6, "
        "two-stage-budget 6 of 6."
    )


def test_drift_estimates_failures_and_a_modelled_clock_are_warned_of(results):
    timing = results.timing | {"okvqa": study_data.TIMING | {"drift_pct": 33.1, "estimate_error_pct": 13.9}}
    summary = results.summary.assign(num_failed=2, clock="modelled")
    text = " ".join(warnings(_with(results, timing=timing, summary=summary)))
    assert "latency drifted during the profile by 33.1 % on okvqa (limit 5 %)" in text
    assert "estimates rather than measures are off by 13.9 % on okvqa" in text
    assert "unreadable images were left out: 2 on coco_2014_vqa" in text
    assert "latencies are modelled" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "drifted" not in " ".join(warnings(_with(results, timing=untimed)))


def test_cells_whose_device_was_slower_are_warned_of(results):
    assert "as fast" not in " ".join(warnings(results))
    slow = results.summary.copy()
    cell = slow.query("dataset == 'okvqa' and controller == 'static-full' and budget == '60pct'").index
    slow.loc[cell, ["slowdown", "slowdown_low", "slowdown_high"]] = [1.3, 1.04, 1.4]
    assert "not as fast" not in " ".join(warnings(_with(results, summary=slow)))  # it may have been 4 %
    slow.loc[cell, "slowdown_low"] = 1.2
    text = " ".join(warnings(_with(results, summary=slow)))
    assert "one and the same request took 1.00 to 1.30 times as long on okvqa;" in text
    untimed = dict.fromkeys(results.timing, dict.fromkeys(study_data.TIMING))
    assert "not as fast" not in " ".join(warnings(_with(results, summary=slow, timing=untimed)))


def test_misses_at_the_speed_of_the_profile_are_told(results):
    """Every median is 20 % over its budget in cells that ran 1.3 times as long, and in those of tier-only 1.1 times."""
    late = results.summary.assign(latency_p50_ms=1.2 * results.summary["budget_ms"], slowdown=1.0)
    slowdown = late["controller"].map({"tier-only": 1.1}).fillna(1.3)
    before, after = (missed_budgets(_with(results, summary=table)) for table in (late, late.assign(slowdown=slowdown)))
    assert "tier-only 6 of 6" in before[-1]
    assert after == [*before, "Had the device been as fast as during the profile: tier-only 6 of 6."]
    fast = missed_budgets(_with(results, summary=late.assign(slowdown=1.3)))
    assert fast[-1] == "Had the device been as fast as during the profile: none."


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
    mixture = results.equal_latency[results.equal_latency["controller"] == "static-full"]
    empty = {"comparisons": results.comparisons.iloc[:0], "promises": results.promises.iloc[:0]}
    text = findings(_with(results, summary=summary, equal_latency=mixture, **empty))
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


def test_the_answer_is_three_sentences(results):
    who, promises, sure = answer.sentences(results)
    assert who == (
        f"Budgets per request, nobody is shown to beat lookup-mean; 95 in 100 on time, nobody is shown to beat "
        f"lookup-mean; on average, nobody is shown to beat {MIXTURE}."
    )
    assert promises.startswith("Promises: 95 in 100 on time, kept by every controller (1.0 % late, ")
    assert "; on average, kept by every controller (mean latency " in promises
    assert sure == "With 900 questions, differences below about 0.8 points cannot be shown."


def test_the_answer_names_winners_and_who_broke_a_promise(results):
    planted = _plant(results, "mean", "two-stage-budget", 0.031, 0.001)
    who, promises, sure = answer.sentences(_break(planted, "p95", "tier-only"))
    assert f"on average, two-stage-budget wins: +3.1 points (+2.1 to +4.1) over {MIXTURE}." in who
    assert "Promises: 95 in 100 on time, broken by tier-only (1.0 % late" in promises
    _, _, doubtful = answer.sentences(_with(planted, summary=results.summary.assign(clock="modelled")))
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


@pytest.fixture
def written(results, tmp_path) -> Path:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "pareto.png")
    html = page.page(
        TEMPLATE,
        _break(_plant(results, "p95", "two-stage-budget", 0.031, 0.001), "p95", "tier-only"),
        study_data.profile(samples=20, seed=1),
        [tmp_path / "pareto.png"],
        {"pareto": "How to read it: 1 < 2 & so on."},
        script=TEMPLATE.with_name("report.js"),
        data={"pareto": ["summary.parquet"]},
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
    table = html.split('id="gains-table"')[1].split("</table>")[0]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr>")[2:]]
    assert len(rows) == 28  # what p-values are corrected for
    assert ["95 in 100 on time", "all", "two-stage-budget", "+3.1", "+2.1 to +4.1", "0.028", "kept"] in rows
    assert {row[-1] for row in rows if row[0] == "per request"} == {""}
    assert [row[1:3] for row in rows if row[-1] == "broken"] == [["all", "tier-only"]]
    assert "How to read it: 1 &lt; 2 &amp; so on." in html
    assert "a made-up processor" in html and "2.4 million parameters" in html
    assert "- 60pct" in html and "<svg" in html
    program, own = (text for text in re.findall(r"<script>(.*?)</script>", html, re.DOTALL))
    page_itself = html.replace(program, "")
    references = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)', page_itself)
    targets = {target for pair in references for target in pair if target}
    outside = {target for target in targets if not target.startswith(("data:", "#"))}
    assert outside == {"plots/pareto.pdf", "summary.parquet"}  # links to what lies beside the page
    # Specifications of Vega-Lite name their schema by its address; nobody asks for it.
    assert set(re.findall(r"https?://[^\"]*", page_itself)) <= {"https://vega.github.io/schema/vega-lite/v6.4.1.json"}


def test_the_policy_admits_the_pages_own_scripts_and_nothing_else(written):
    html = written.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = {f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts}
    assert len(scripts) == 2 and set(directives["script-src"].split()) == hashes
    assert directives["default-src"] == "'none'" and "eval" not in policy
    assert not re.search(r"\son\w+\s*=", html.replace(scripts[0], ""))  # no handlers within the markup


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def opened(written):
    """The page in a real browser, its charts drawn; whatever the browser complains of fails the test."""
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome is installed")
    complaints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(written.as_uri())
        tab.wait_for_selector("body[data-drawn]", timeout=60_000)
        yield tab
        browser.close()
    assert complaints == []


def _marks(tab, chart: str) -> int:
    """Marks of controllers: those that have a dark edge."""
    return tab.locator(f'#{chart} path[stroke="#333333"]').count()


def test_choices_change_what_the_charts_show(opened):
    controllers, budgets = len(CONTROLLERS), len(BUDGETS)
    assert _marks(opened, "explore-pareto") == controllers * budgets
    assert _marks(opened, "explore-gains") == 2 * 2 + 3  # the others over lookup-mean twice, all over mixtures
    opened.select_option("#kind", "mean")
    assert _marks(opened, "explore-pareto") == controllers * 2
    assert _marks(opened, "explore-gains") == 3 * (1 + 2)  # the kind, and its two budgets
    opened.uncheck('input[value="tier-only"]')
    assert _marks(opened, "explore-pareto") == (controllers - 1) * 2
    assert _marks(opened, "explore-gains") == 2 * 3
    before = opened.locator("#explore-pareto svg").inner_html()
    opened.select_option("#dataset", "okvqa")
    assert opened.locator("#explore-pareto svg").inner_html() != before
    opened.click("#none")
    assert _marks(opened, "explore-pareto") == _marks(opened, "explore-gains") == 0
    opened.click("#all")
    assert _marks(opened, "explore-pareto") == controllers * 2


def test_pointing_at_a_mark_says_what_it_is(opened):
    opened.select_option("#dataset", "okvqa")
    opened.click("#none")
    opened.check('input[value="two-stage-budget"]')
    opened.select_option("#kind", "p95")
    opened.locator('#explore-pareto path[stroke="#333333"]').first.hover()
    told = opened.locator("#vg-tooltip-element").inner_text()
    for word in ("two-stage-budget", "on time", "accuracy (%)", "mean latency (ms)", "later than the budget (%)"):
        assert word in told, told
    assert re.search(r"most chosen\s+\w+-k\d+-b\d+ \(", told)


def test_a_click_on_a_head_sorts_the_table(opened):
    cells = opened.locator("#gains-table tbody td:nth-child(4)")
    opened.click('#gains-table button:has-text("gain (points)")')
    rising = [float(text) for text in cells.all_inner_texts()]
    assert rising == sorted(rising) and rising[0] < rising[-1]
    opened.click('#gains-table button:has-text("gain (points)")')
    assert [float(text) for text in cells.all_inner_texts()] == rising[::-1]


def test_on_a_phone_nothing_is_wider_than_the_screen(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_function("document.querySelector('#explore-pareto svg').getBoundingClientRect().width <= 390")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


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
