"""What a cell of a table may hold: converted where it has one meaning, else refused with what was found."""

from datetime import date
from decimal import Decimal

import pytest

from adamolmo.config.data import ColumnSettings
from adamolmo.data.rows import samples_of_row
from adamolmo.data.scoring import SCORERS

NAN = float("nan")
OPTIONS = ColumnSettings(options="options", context="context")


def sample(columns: ColumnSettings | None = None, **cells) -> dict:
    row = {"image": b"png", "question": "why ?", "answers": "red", "options": ["cat", "dog"], "context": None} | cells
    (found,) = samples_of_row(row, columns or ColumnSettings(), "row")
    return found


def fault(columns: ColumnSettings | None = None, **cells) -> str:
    with pytest.raises(ValueError, match="^column '") as error:
        sample(columns, **cells)
    return str(error.value)


@pytest.mark.parametrize(
    ("cell", "answers"),
    [
        ("red", ["red"]),
        (["red", None, " ", NAN, "blue"], ["red", "blue"]),
        (b"gr\xc3\xbcn", ["grün"]),
        ([b"red", 3, "4"], ["red", "3", "4"]),
        (3, ["3"]),
        (3.0, ["3"]),
        (-0.0, ["0"]),
        (0.25, ["0.25"]),
        (Decimal("2.50"), ["2.50"]),
        (Decimal("7.00"), ["7"]),
        ('["red", "a [dark] blue"]', ["red", "a [dark] blue"]),
        ("(red)", ["(red)"]),
        (["[1]"], ["[1]"]),
        ("\x1b[1mred\x1b[0m\x07", ["red"]),
        ("\x1b]0;title\x07red\x9b2J", ["red"]),
        ("one\r\ntwo", ["one\ntwo"]),
    ],
)
def test_answers_with_one_meaning_are_converted(cell, answers):
    assert sample(answers=cell)["answers"] == answers


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ([{"answer": "red", "answer_id": 1}], "holds a record with the fields answer, answer_id; expected answers as"),
        ([{"answer": "red"}], "'answers.answer'"),
        (None, "is empty; expected answers"),
        (NAN, "is empty"),
        ([None, ""], "is empty"),
        (True, "holds bool True; expected"),
        ([["red"]], "holds a list of 1 (text 'red', ...); expected"),
        (date(2020, 1, 1), "holds date 2020-01-01"),
        (b"caf\xe9", "holds bytes that are no UTF-8 text (0xe9 at 3); expected UTF-8"),
        ("\ud800", "half of a character"),
        (1e300, "no plain form"),
        (0.1 + 0.2, "no plain form of up to 15 digits"),
        (float("inf"), "no plain form"),
        ("['red', 'blue']", "a list or record written as text; expected an answer, or a list of answers"),
        ("['red' 'blue']", "written as text"),
        ("[1]", "written as text"),
        ('{"answer": "red"}', "written as text"),
        ("('red', 'blue')", "written as text"),
    ],
)
def test_other_answers_are_refused(cell, sentence):
    assert sentence in fault(answers=cell)
    assert fault(answers=cell).isprintable()


def test_a_float_that_is_whole_scores_as_a_count():
    assert SCORERS["count"]("3", sample(answers=3.0)["answers"]) == 1


@pytest.mark.parametrize(
    ("cell", "question"),
    [
        (["cat", "dog"], "why ?\nA: cat\nB: dog\n"),
        ([b"cat", "dog"], "why ?\nA: cat\nB: dog\n"),
        ('["cat", "dog"]', "why ?\nA: cat\nB: dog\n"),
        ([1, 2.0, "3"], "why ?\nA: 1\nB: 2\nC: 3\n"),
    ],
)
def test_options_are_a_list(cell, question):
    assert sample(OPTIONS, options=cell, answers=1)["question"] == question


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("cat, dog", "holds text 'cat, dog'; expected a list of options"),
        ("['cat', 'dog']", "written as text; expected a list of options"),
        (["cat", None], "has null as option 1; expected texts"),
        (["cat", NAN], "as option 1"),
        (["cat", " "], "has text ' ' as option 1"),
        ([], "holds an empty list"),
        (None, "holds null"),
        ({"A": "cat"}, "holds a record with the fields A"),
        (["x"] * 27, "has 27 options; expected at most 26"),
    ],
)
def test_other_options_are_refused(cell, sentence):
    assert f"column 'options' {sentence}" in fault(OPTIONS, options=cell, answers=0) or sentence in fault(
        OPTIONS, options=cell, answers=0
    )


@pytest.mark.parametrize(
    ("cell", "options", "answers"),
    [
        (1, ["cat", "dog"], ["B", "dog"]),
        (1.0, ["cat", "dog"], ["B", "dog"]),
        ("B", ["cat", "dog"], ["B", "dog"]),
        ("dog", ["cat", "dog"], ["B", "dog"]),
        ([0, 1], ["cat", "dog"], ["A", "cat", "B", "dog"]),
        ("B", ["A", "B"], ["B", "B"]),
        (0, ["B", "A"], ["(A)", "B"]),  # alone, "A" reads like the other option
    ],
)
def test_the_right_option_is_a_number_a_letter_or_a_text(cell, options, answers):
    assert sample(OPTIONS, options=options, answers=cell)["answers"] == answers


@pytest.mark.parametrize("cell", [2, -1, 0.5, True, "C", "1", "A", None, b"\xff"])
def test_a_right_option_of_two_meanings_or_none_is_refused(cell):
    fault(OPTIONS, options=["B", "A"] if cell == "A" else ["cat", "dog"], answers=cell)


@pytest.mark.parametrize("cell", [b"png", {"bytes": b"png", "path": "a.png"}, [b"png"], [{"bytes": b"png"}]])
def test_an_image_is_bytes(cell):
    assert sample(image=cell)["image"] == b"png"


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("a.png", "text 'a.png'"),
        ({"bytes": None, "path": "a.png"}, "null"),
        ([b"a", b"b"], "a list of 2 (bytes b'a', ...)"),
        ([[0, 1]], "a list of 2 (number 0, ...)"),
        ([], "an empty list"),
    ],
)
def test_anything_else_is_no_image(cell, found):
    assert fault(image=cell) == f"column 'image' holds {found}; expected the bytes of one image file"


@pytest.mark.parametrize(("cell", "found"), [(7, "7"), (7.0, "7"), ("q 7", "q 7"), (b"q7", "q7")])
def test_ids_are_texts_or_whole_numbers(cell, found):
    columns = ColumnSettings(question_id="id", image_id="id")
    assert (sample(columns, id=cell)["sample_id"], sample(columns, id=cell)["image_id"]) == (found, found)


@pytest.mark.parametrize("cell", [None, NAN, "", True, "a\x1b[2J", "a\nb", [1], b"\xff", "\ud800"])
def test_other_ids_are_refused(cell):
    fault(ColumnSettings(question_id="id"), id=cell)


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff \u200d", "\u200e\u202a", "\u00a0\u3000", b"\xe2\x80\x8b"])
@pytest.mark.parametrize("column", ["question", "answers"])
def test_what_nobody_can_see_is_blank(column, blank):
    assert f"column '{column}' is empty" in fault(**{column: blank})
    assert "option 1; expected texts" in fault(OPTIONS, options=["cat", blank], answers=0)
    assert "expected an id" in fault(ColumnSettings(question_id="id"), id=blank)


@pytest.mark.parametrize("cell", ["ro\u0301t", "r\u00f3t\u200b", b"ro\xcc\x81t"])
def test_a_right_option_is_found_however_its_accents_are_composed(cell):
    assert sample(OPTIONS, options=["cat", "r\u00f3t"], answers=cell)["answers"] == ["B", "r\u00f3t"]


@pytest.mark.parametrize("cell", [3, ["why ?"], {"text": "why ?"}, True, b"\xff"])
def test_a_question_is_a_text(cell):
    assert "column 'question'" in fault(question=cell)


def test_bytes_are_text_in_questions_and_contexts():
    assert sample(OPTIONS, question=b"why ?", context=b"Look.", answers=0)["question"].startswith("Look.\nwhy ?\n")


def test_fields_of_records():
    columns = ColumnSettings(question="qa.text", answers="qa.right.text")
    row = {"image": b"png", "qa": [{"text": "a ?", "right": [{"text": "1"}]}, {"text": "b ?", "right": [{"text": 2}]}]}
    found = list(samples_of_row(row, columns, "row"))
    assert [(s["sample_id"], s["question"], s["answers"]) for s in found] == [
        ("row-0", "a ?", ["1"]),
        ("row-1", "b ?", ["2"]),
    ]
    (alone,) = samples_of_row(row | {"qa": row["qa"][0]}, columns, "row")
    assert (alone["sample_id"], alone["question"]) == ("row", "a ?")
    assert sample(ColumnSettings(answers="a.b"), **{"a.b": "red"})["answers"] == ["red"]  # a dot in a column's name
    assert "names 'word', which is none of text" in fault(ColumnSettings(answers="x.word"), x=[{"text": "red"}])
    assert "has null where a record with the field 'word'" in fault(ColumnSettings(answers="x.word"), x=[None])
