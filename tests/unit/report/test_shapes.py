"""A study of any shape is compared, told of, tabulated and drawn: what is missing is not an error."""

import json
import re
from pathlib import Path

import pytest
import study_data
from figure_checks import FIGURES, draw
from made_documents import manifest
from made_outcomes import Shape, profile_of, tables_of
from PIL import Image

from adamolmo.budgets import KINDS
from adamolmo.report import answer, controllers_page, page, tables
from adamolmo.report.figures.style import COLUMN_IN, PAGE_IN
from adamolmo.report.findings import StudyResults, findings, warnings
from adamolmo.report.paper_tables import latex

TEMPLATES = Path(__file__).parents[3] / "workflow/report"
SHAPES = {
    "one controller": Shape(controllers=["lookup-mean"]),
    "one controller, which is trained": Shape(controllers=["two-stage-budget"]),
    "one static configuration": Shape(controllers=["static-full"]),
    "static configurations alone": Shape(controllers=["static-full", "static-low-k4-b12"]),
    "the oracle and one controller": Shape(controllers=["oracle", "two-stage-budget"]),
    "the oracle and a static configuration": Shape(controllers=["oracle", "static-full"]),
    "no baseline": Shape(controllers=["two-stage-budget", "tier-only"]),
    "a controller of one's own": Shape(controllers=["lookup-mean", "mine"]),
    **{f"one budget, {kind}": Shape(budgets=[f"60pct{'' if kind == 'per-request' else f'-{kind}'}"]) for kind in KINDS},
    "one budget that nothing meets": Shape(budgets=["1pct"]),
    "promises that nothing meets": Shape(budgets=["1pct-p95", "1pct-mean"]),
    "no promises": Shape(budgets=["60pct", "105pct"]),
    "promises alone": Shape(budgets=["80pct-p95", "80pct-p99"]),
    "milliseconds": Shape(budgets=["9ms", "40ms-mean"]),
    "one dataset": Shape(datasets=["okvqa"]),
    "one configuration": Shape(top_k=[8]),
    "one of everything": Shape(["lookup-mean"], ["60pct"], ["okvqa"], [8]),
    "one of everything, and the oracle": Shape(["oracle", "lookup-mean"], ["60pct-mean"], ["okvqa"], [8]),
}
DRAWN = ["one controller", "the oracle and a static configuration", "one of everything"]


@pytest.fixture(scope="module", params=SHAPES)
def made(request, tmp_path_factory) -> tuple[Shape, dict]:
    shape = SHAPES[request.param]
    return shape, tables_of(shape, tmp_path_factory.mktemp("results"))


def results_of(shape: Shape, found: dict) -> StudyResults:
    timing = dict.fromkeys(shape.datasets, study_data.TIMING)
    own = {name: table for name, table in found.items() if name in StudyResults.__dataclass_fields__}
    return StudyResults(**own, profile=profile_of(shape), timing=timing)


def test_it_is_told_of_in_words(made):
    results = results_of(*made)
    text = " ".join([*answer.sentences(results), *findings(results), *warnings(results)])
    assert "nan" not in text


def test_it_is_tabulated(made):
    _, found = made
    for name, make in tables.TABLES.items():
        table = make(found["summary"], found["comparisons"])
        assert "caption" in latex(TEMPLATES / "table.tex.j2", name, table)
        assert not table.rows.isna().any().any()


def test_it_has_a_page_of_its_controllers(made):
    _, found = made
    of_page = [name for name in found if name != "manifest"]
    own = {"mine": controllers_page.OwnControllerSettings(module="adamolmo.controllers.static")}
    text = controllers_page.page(TEMPLATES / "controllers.md.j2", own=own, **{name: found[name] for name in of_page})
    assert "nan" not in text
    assert "# Controllers side by side" in text


def test_it_has_a_report(made, tmp_path):
    figure = tmp_path / "overhead.png"
    Image.new("RGB", (2, 2)).save(figure)
    text = page.page(
        TEMPLATES / "report.html.j2",
        results_of(*made),
        profile_of(made[0]),
        [figure],
        {"overhead": "What deciding costs."},
        script=TEMPLATES / "report.js",
        data={},
        manifest=manifest(num_blocks=16),
        configuration={},
        rule_graph='digraph {\n0[label = "all"];\n1[label = "evaluate"];\n1 -> 0\n}',
    )
    assert "nan" not in text.partition("<body>")[2].partition("data:image")[0]
    (charts,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', text)
    assert "explore-pareto" in json.loads(charts, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", DRAWN)
def test_it_is_drawn(name, tmp_path):
    """All figures of a study whose controllers are not trained."""
    shape = SHAPES[name]
    profile = profile_of(shape)
    inputs = tables_of(shape, tmp_path) | {
        "profile": profile,
        "grid": profile,
        "scores": study_data.importance_scores(),
    }
    inputs["timing"] = dict.fromkeys(shape.datasets, study_data.TIMING)
    for figure in set(FIGURES) - {"promises", "training_curves", "reliability"}:
        for width in (PAGE_IN, COLUMN_IN):
            assert draw(figure, inputs, width).axes
