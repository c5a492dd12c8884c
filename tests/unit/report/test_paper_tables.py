"""LaTeX that a paper can take: it compiles as the file says, fits two columns, and marks what its caption says."""

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import study_data

from adamolmo.controllers.registry import CONTROLLERS
from adamolmo.evaluation.summary import collect
from adamolmo.report import tables
from adamolmo.report.paper_tables import latex

TEMPLATE = Path(__file__).parents[3] / "workflow/report/table.tex.j2"
LONG = "my-own-controller-with-a-name-that-is-longer-than-any-column-of-a-paper"


def results(folder: Path, controllers: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    summary = collect(study_data.write_cells(folder, controllers, study_data.BUDGETS_OF_ALL_KINDS))
    return summary, study_data.comparisons(summary)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    return results(tmp_path_factory.mktemp("cells"), [*study_data.CONTROLLERS, "single-stage-mlp"])


def source(name: str, study: tuple[pd.DataFrame, pd.DataFrame]) -> str:
    return latex(TEMPLATE, name, tables.TABLES[name](*study))


def rows(text: str, controller: str) -> list[str]:
    escaped = controller.replace("_", r"\_")
    return [line for line in text.splitlines() if line.startswith(f"{escaped} &")]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-recommended)")
@pytest.mark.parametrize("options", ["twocolumn", "onecolumn"])
@pytest.mark.parametrize("study", ["few", "all"])
def test_every_table_compiles_in_a_bare_article_without_a_line_too_long(few, tmp_path, options, study):
    found = few if study == "few" else results(tmp_path / "cells", [*CONTROLLERS, LONG, "oracle"])
    found = tuple(table.replace({"dataset": {"okvqa": "a & b, 100 % #1 of {x} at $5 ~ 3 < 4 ^ 2"}}) for table in found)
    sources = {name: source(name, found) for name in tables.TABLES}
    for name, text in sources.items():
        (tmp_path / f"{name}.tex").write_text(text)
    preamble = {line[1:].strip() for text in sources.values() for line in text.splitlines() if "usepackage" in line}
    inputs = "\n".join(rf"\input{{{name}}}" for name in sources)
    document = "\n".join([rf"\documentclass[{options}]{{article}}", *preamble, r"\begin{document}", inputs])
    (tmp_path / "paper.tex").write_text(document + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert result.returncode == 0, result.stdout
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert not re.findall(r"Overfull.*|.*Float too large.*", log)


def test_rows_are_balanced(few):
    for name in tables.TABLES:
        text = source(name, few)
        for body in re.findall(r"begin{tabularx}(.*?)\\end{tabularx}", text, re.DOTALL):
            rows = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith(r"\multicol")]
            widths = {line.replace(r"\&", "").count("&") + line.count(r"\multicolumn{2}") for line in rows}
            assert len(widths) == 1, name


def test_bold_and_grey_are_those_of_the_table(few):
    table = tables.accuracy(*few).rows
    cells = table[table["controller"] == "lookup-mean"]
    assert len(rows(source("accuracy", few), "lookup-mean")) == 3 * 3  # datasets, groups of budgets
    text = "".join(line for name in study_data.CONTROLLERS for line in rows(source("accuracy", few), name))
    shown = table[table["controller"].isin(study_data.CONTROLLERS)]
    assert text.count(r"\textbf") == shown["best"].sum() > 0
    assert text.count(r"\color{gray}") == 2 * (~shown["keeps_budget"]).sum() > 0
    first = cells[(cells["dataset"] == "coco_2014_vqa") & (cells["budget"] == "45pct")].iloc[0]
    found = rows(source("accuracy", few), "lookup-mean")[0].split(" & ")[1:3]
    assert found[0].removeprefix(r"\color{gray}") == f"{first['accuracy_pct']:.1f}"
    low, high = first["accuracy_low_pct"], first["accuracy_high_pct"]
    assert found[1].endswith(rf"\scriptsize [{low:.1f}, {high:.1f}]")


def test_a_difference_is_bold_if_the_accuracies_are_shown_to_differ(few):
    table = tables.gains(few[1]).rows
    text = source("gains", few)
    assert text.count(r"\textbf") == (table["p_holm"] < 0.05).sum() > 0
    assert all("Bold: the accuracies differ" in caption for caption in re.findall(r"\\caption{.*", text))


def test_budgets_of_a_kind_stand_together_from_tight_to_loose(few):
    found = re.findall(r"multicolumn\{2}{c}{(\d+)\\,\\%([^}]*)}", source("violations", few))
    groups = list(dict.fromkeys(kind for _, kind in found))
    assert groups == ["", " p95", " mean"]
    for kind in groups:
        of_kind = list(dict.fromkeys(int(value) for value, other in found if other == kind))
        assert all(tight < loose for tight, loose in pairwise(of_kind))


def test_a_study_of_one_controller_has_an_empty_table(few):
    text = latex(TEMPLATE, "gains", tables.gains(few[1].iloc[:0]))
    assert text.count(r"\begin{table*}") == 1
