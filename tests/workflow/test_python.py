"""The Python API on a finished study: what docs/python.md shows runs, and agrees with the files of the study."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from mini_study import MINI, ROOT

import adamolmo
from adamolmo.cli import main
from adamolmo.config import StudyConfig
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table

CELL = ("text_vqa", "predict-overview", "75pct-mean")


@pytest.fixture(scope="module")
def opened(finished) -> adamolmo.Study:
    return adamolmo.Study(finished.path("results"), [finished.path("config.yaml"), finished.path(MINI)])


def test_the_quickstart_runs(finished, tmp_path):
    """In one process, as in a notebook; the miniature study's configuration stands in two files."""
    assert {"70pct", "75pct-mean"} <= set(StudyConfig.load(ROOT / "config.yaml").budgets)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    configs = [str(finished.path(name)) for name in ("config.yaml", MINI)]
    code = (
        "\n".join(blocks)
        .replace('"config.yaml"', str(configs), 1)
        .replace('"results"', repr(str(finished.path("results"))), 1)
        .replace('"70pct"', '"60pct"')  # a budget of the default study; the miniature one has another
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "what " in run.stdout and "-k" in run.stdout
    assert '"requests": 6' in (tmp_path / "stream.json").read_text()


def test_answers_are_those_of_the_cells(opened, finished):
    answers = opened.answers(*CELL)
    cell = read_table(finished.path("results/eval/{}/{}/{}.parquet".format(*CELL)), EVALUATION)[0]
    pd.testing.assert_frame_equal(answers[list(EVALUATION.columns)], cell)
    questions = opened.questions("text_vqa").set_index("sample_id")
    assert answers["question"].tolist() == questions.loc[answers["sample_id"], "question"].tolist()
    everything = opened.answers()
    assert len(everything) == opened.table("summary")["num_samples"].sum()
    assert everything.groupby(["dataset", "controller", "budget"]).size().nunique() == 1


@pytest.mark.parametrize("controller", ["lookup-mean", "two-stage-budget", "predict-overview"])
@pytest.mark.parametrize("budget", ["60pct", "75pct-mean"])
def test_a_cell_evaluated_again_is_the_same(opened, controller, budget):
    """With the modelled clock: one way to answer, from a rule and from Python."""
    again, study = opened.evaluate(budget, controller, "text_vqa"), opened.answers("text_vqa", controller, budget)
    pd.testing.assert_frame_equal(again, study[again.columns], check_dtype=False, rtol=1e-6)


def test_single_requests_are_those_of_the_cell(opened):
    """Asked one after the other in the cell's order they are the same stream."""
    cell, pictures = opened.answers(*CELL).sort_values("request"), opened.questions("text_vqa").set_index("sample_id")
    for row in cell.itertuples():
        answer = opened.answer(pictures.loc[row.sample_id, "image"], row.question, CELL[2], CELL[1], CELL[0])
        assert (answer.text, str(answer.config)) == (row.prediction, row.config)
        assert answer.latency_ms == pytest.approx(row.latency_ms, rel=1e-5)
        assert answer.late == row.late
        assert (answer.ttft_ms, answer.tpot_ms) == pytest.approx((row.ttft_ms, row.tpot_ms), rel=1e-5, nan_ok=True)
        assert answer.energy_j is None  # the clock is modelled


def test_requests_are_shown_on_the_terminal(finished, opened, capsys):
    cell = "/".join(CELL)
    answers = opened.answers(*CELL)
    results = ["--results", str(finished.path("results"))]
    main(["show", cell, "--number", "2", *results])
    shown = capsys.readouterr().out
    assert shown.startswith(f"{cell}: 6 of 6 requests, the first 2:\n")
    first = answers.set_index("request").loc[0]
    assert f"question     {first['question']}\n" in shown and f"knobs        {first['config']}\n" in shown
    assert f"serving      TTFT {first['ttft_ms']:.2f} ms, TPOT {first['tpot_ms']:.2f} ms\n" in shown
    for option, chosen in {
        "--wrong": ~answers["right"],
        "--late": answers["late"],
        "--disagree": answers["disputed"],
    }.items():
        main(["show", cell, option, *results])
        text = capsys.readouterr().out
        assert text.startswith(f"{cell}: {chosen.sum()} of 6 requests are ")
        assert text.count("\nquestion ") == min(5, chosen.sum())


def test_the_page_of_examples_shows_every_controller(finished):
    html = finished.path("results/examples.html").read_text()
    assert html.count("<article>") > 0
    for controller in (
        "oracle",
        "static-full",
        "lookup-mean",
        "predict-overview",
        "two-stage-budget",
        "single-stage-mlp",
    ):
        assert html.count(f'<td class="name">{controller}</td>') == html.count("<article>")
