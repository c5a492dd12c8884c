"""VQA soft accuracy where there are fewer than ten answers, and the scorers of the other datasets."""

import pytest

from adamolmo.data.scoring import SCORERS, normalize_answer, vqa_score
from adamolmo.errors import AdaMolmoError


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        (["Red."], 1.0),
        (["blue"], 0.0),
        (["red", "blue"], 0.5),
        (["red", "red"], 1.0),
        (["red", "blue", "green"], 1 / 3),
        (["red"] * 2 + ["blue"] * 8, 2 / 3),
        (["red"] * 10, 1.0),
    ],
)
def test_number_of_answers(answers, score):
    assert vqa_score("the red", answers) == pytest.approx(score)


def test_normalisation_of_one_text():
    assert normalize_answer("The two dogs, arent they?") == "2 dogs aren't they"
    assert normalize_answer("couldntve y'alld've") == "couldntve y'all'd've"


@pytest.mark.parametrize("scorer", SCORERS)
def test_no_answers(scorer):
    with pytest.raises(AdaMolmoError, match="no answers"):
        SCORERS[scorer]("red", [])


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("Coca  Cola", ["coca cola"], 1.0),
        ("cola", ["Coca Cola", "cole"], 0.75),
        ("coca", ["Coca Cola"], 0.0),  # 5 of 9 letters are missing: below one half
        ("abcd", ["abxy"], 0.0),  # one half is not above one half
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("", ["red"], 0.0),
    ],
)
def test_normalised_edit_distance(prediction, answers, score):
    assert SCORERS["anls"](prediction, answers) == pytest.approx(score)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        (" B", 1),
        ("b", 1),
        ("(B)", 1),
        ("B: a dog", 1),
        ("a dog", 1),
        ("Dog.", 1),
        ("A", 0),
        ("A: a cat", 0),
        ("cat", 0),
    ],
)
def test_multiple_choice(prediction, score):
    assert SCORERS["multiple_choice"](prediction, ["B", "a dog"]) == score


def test_the_option_a_is_no_article():
    assert SCORERS["multiple_choice"]("A", ["A", "the cat"]) == 1
    assert SCORERS["multiple_choice"]("A", ["B", "a"]) == 0


@pytest.mark.parametrize(("prediction", "score"), [("4", 1), ("four", 1), (" Four.", 1), ("3", 0), ("", 0), ("40", 0)])
def test_count(prediction, score):
    assert SCORERS["count"](prediction, ["4"]) == score
