"""The page has every part, loads nothing, and works when it is clicked."""

import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
import study_data
from made_documents import manifest
from PIL import Image
from playwright.sync_api import sync_playwright
from study_results import BUDGETS, CONTROLLERS, break_promise, changed, plant, quiet_results

from adamolmo.errors import AdaMolmoError
from adamolmo.report import page
from adamolmo.report.figures.style import look
from adamolmo.report.findings import StudyResults
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph

TEMPLATE = Path(__file__).parents[3] / "workflow/report/report.html.j2"
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


def test_the_rule_graph_is_read_and_drawn_downwards():
    graph = read_rule_graph(DOT)
    assert graph == {"evaluate": set(), "prepare_data": {"evaluate", "core_exp"}, "core_exp": {"evaluate"}}
    svg = draw_rule_graph(graph)
    places = {name: float(y) for y, name in re.findall(r'<text x="[\d.]+" y="([\d.]+)">(\w+)</text>', svg)}
    assert places["prepare_data"] < places["core_exp"] < places["evaluate"]
    assert svg.count("<path") == 2  # prepare_data -> evaluate is implied
    with pytest.raises(AdaMolmoError, match="has no rule"):
        read_rule_graph("digraph {}")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> StudyResults:
    planted = plant(quiet_results(tmp_path_factory.mktemp("study")), "p95", "two-stage-budget", 0.031, 0.001)
    return break_promise(planted, "p95", "tier-only")


@pytest.fixture(scope="module")
def written(results, tmp_path_factory) -> Path:
    return write(results, tmp_path_factory.mktemp("page"))


def write(results: StudyResults, tmp_path: Path) -> Path:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "pareto.png")
    html = page.page(
        TEMPLATE,
        results,
        study_data.profile(samples=20, seed=1),
        [tmp_path / "pareto.png"],
        {"pareto": "How to read it: 1 < 2 & so on."},
        script=TEMPLATE.with_name("report.js"),
        data={"pareto": ["summary.parquet"]},
        manifest=manifest(num_blocks=16),
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
    assert outside == {"plots/pareto.pdf", "summary.parquet", "examples.html"}  # links to what lies beside the page
    # Specifications of Vega-Lite name their schema by its address; nobody asks for it.
    assert set(re.findall(r"https?://[^\"]*", page_itself)) <= {"https://vega.github.io/schema/vega-lite/v6.4.1.json"}


def test_energy_is_shown_where_it_was_counted_and_else_said_to_be_missing(results, tmp_path):
    def shown(summary) -> tuple[str, list[str]]:
        html = write(changed(results, summary=summary), tmp_path).read_text()
        told, table = html.split("Serving measures")[1].split('<table class="sortable" id="serving">')
        return told, re.findall(r"<td[^>]*>([^<]*)</td>", table.split("</table>")[0])

    told, cells = shown(results.summary)
    assert "Energy: not available on this device." in told
    assert len(cells) == len(results.summary) * 8
    assert "Energy: none, the clock is modelled." in shown(results.summary.assign(clock="modelled"))[0]
    counted = {"joules_per_answer": 2.0, "joules_per_answer_low": 1.9, "joules_per_answer_high": 2.2}
    told, cells = shown(results.summary.assign(**counted))
    assert "not available" not in told and "by its own counter" in told
    assert cells.count("2.00\n[1.90, 2.20]") == len(results.summary)


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


@pytest.fixture(scope="module")
def browser():
    """A real one, for all tests."""
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome is installed")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def opened(browser, written):
    """The page, its charts drawn; whatever the browser complains of fails the test."""
    complaints = []
    tab = browser.new_page(viewport={"width": 1100, "height": 900})
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(written.as_uri())
    tab.wait_for_selector("body[data-drawn]", timeout=60_000)
    yield tab
    tab.close()
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
    opened.select_option("#kind", "mean")  # the mark is gone, and what was said of it with it
    assert opened.locator("#vg-tooltip-element.visible").count() == 0


def test_controllers_look_as_in_the_figures(opened):
    names = opened.locator('#controls input[name="controller"]').evaluate_all("boxes => boxes.map(box => box.value)")
    assert sorted(names) == sorted(CONTROLLERS)
    for name in names:
        swatch = opened.locator(f'#controls label:has(input[value="{name}"]) path').last
        assert (swatch.get_attribute("d"), swatch.get_attribute("fill")) == (look(name).outline, look(name).color)
    drawn = opened.locator('#explore-pareto path[stroke="#333333"]').evaluate_all(
        "marks => marks.map(mark => mark.getAttribute('fill') + mark.getAttribute('d').replace(/[^A-Za-z]/g, ''))"
    )
    assert set(drawn) == {look(name).color + re.sub("[^A-Za-z]", "", look(name).outline) for name in names}


def test_a_click_on_a_head_sorts_the_table(opened):
    cells = opened.locator("#gains-table tbody td:nth-child(4)")
    opened.click('#gains-table button:has-text("gain (points)")')
    rising = [float(text) for text in cells.all_inner_texts()]
    assert rising == sorted(rising) and rising[0] < rising[-1]
    opened.click('#gains-table button:has-text("gain (points)")')
    assert [float(text) for text in cells.all_inner_texts()] == rising[::-1]


def test_on_a_phone_nothing_is_wider_than_the_screen(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    for _ in range(100):  # the charts follow the window in their own time
        if opened.evaluate("document.querySelector('#explore-pareto svg').getBoundingClientRect().width") <= 390:
            break
        opened.wait_for_timeout(100)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.locator('#explore-pareto path[stroke="#333333"]').last.hover()
    box = opened.locator("#vg-tooltip-element.visible").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


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
