"""VQA soft accuracy against the official scorer, row by row."""

import json

import pytest

from adamolmo.data.scoring import normalize_answer, vqa_score


@pytest.fixture(scope="module")
def rows(golden):
    rows = json.loads((golden / "vqa_score" / "table.json").read_text())["rows"]
    assert rows
    return rows


def test_normalisation(rows):
    for row in rows:
        assert normalize_answer(row["prediction"]) == row["normalized_prediction"], row["prediction"]
        assert [normalize_answer(answer) for answer in row["answers"]] == row["normalized_answers"], row["answers"]


def test_score(rows):
    for row in rows:
        assert vqa_score(row["prediction"], row["answers"]) == pytest.approx(row["score"], abs=1e-6), row["prediction"]
