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
        ("a dog.", 1),
        ("A", 0),
        ("A: a cat", 0),
        ("cat", 0),
    ],
)
def test_multiple_choice(prediction, score):
    assert SCORERS["multiple_choice"](prediction, ["B", "a dog"]) == score


@pytest.mark.parametrize(
    "prediction",
    ["B.", "B)", "B:", "[b]", "B) a dog", "(B) a dog", "**B**", "**B**: a dog", "**B. a dog**", '"B"', "`B`"]
    + ["Answer: B", "answer: (B)", "**Answer:** B", "The answer is B.", "The correct answer is (B).", "Option B"]
    + ["Final answer: B", "The answer is option B", "Answer: a dog", "The answer is a dog.", " a   dog", "B\nBecause."],
)
def test_what_lenient_harnesses_accept_is_accepted(prediction):
    assert SCORERS["multiple_choice"](prediction, ["B", "a dog"]) == 1
    assert SCORERS["multiple_choice"](prediction, ["C", "a cat"]) == 0


@pytest.mark.parametrize(
    "prediction",
    ["", " ", "B or A", "(B) or (A)", "A, B", "B: a dog A: a cat", "I think B", "B is right", "Because", "bB", "BB"]
    + ["dog", "the dog", "A dog", "a  dog!", "a dog, maybe"],
)
def test_what_names_no_single_option_is_wrong(prediction):
    assert SCORERS["multiple_choice"](prediction, ["B", "a dog"]) == 0


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("", ["A", "A"], 0),
        ("-3", ["B", "3"], 0),
        ("3", ["B", "-3"], 0),
        ("U.S.", ["C", "U.S."], 1),
        ("U.S.", ["U", "Iran"], 0),
        ("A.M.", ["A", "noon"], 0),
        ("Aa", ["A", "Aa"], 1),
        ("AA", ["A", "Aa"], 0),
        ("a", ["B", "a"], 1),
        ("the", ["B", "a"], 0),
        ("two", ["B", "2"], 0),
        ("B: Dr. J. Smith", ["B", "Dr. J. Smith"], 1),
        ("B. vitamin C.", ["B", "vitamin C"], 1),
        ("D", ["B", "cat", "D", "dog"], 1),
        ("dog", ["B", "cat", "D", "dog"], 1),
        ("A", ["(A)", "B"], 0),  # the text of another option
        ("(A)", ["(A)", "B"], 1),
        ("B", ["(A)", "B"], 1),
    ],
)
def test_the_exact_text_comes_first_and_then_a_letter_that_stands_alone(prediction, answers, score):
    assert SCORERS["multiple_choice"](prediction, answers) == score


def test_the_option_a_is_no_article():
    assert SCORERS["multiple_choice"]("A", ["A", "the cat"]) == 1
    assert SCORERS["multiple_choice"]("A", ["B", "a"]) == 0
    assert SCORERS["multiple_choice"]("A dog", ["A", "the cat"]) == 0


@pytest.mark.parametrize(
    ("prediction", "score"),
    [("4", 1), ("four", 1), (" Four.", 1), ("4.0", 1), ("3", 0), ("", 0), ("40", 0), ("-4", 0), ("four cats", 0)],
)
def test_count(prediction, score):
    assert SCORERS["count"](prediction, ["4"]) == score


@pytest.mark.parametrize("scorer", ["vqa", "anls", "multiple_choice"])
@pytest.mark.parametrize(
    "same", ["cafe\u0301", "caf\u00e9", "\u200bcafe\u0301", "caf\u00e9\ufeff", "\u202acaf\u00e9\u202c"]
)
def test_what_looks_the_same_is_the_same(scorer, same):
    """Answers of one keyboard, another system, a page that was copied from."""
    lead = ["B"] if scorer == "multiple_choice" else []
    assert SCORERS[scorer]("caf\u00e9", [*lead, same]) == SCORERS[scorer](same, [*lead, "caf\u00e9"]) == 1
    assert SCORERS[scorer]("cafe", [*lead, same]) < 1
    assert SCORERS["count"]("\u200b4", ["4\ufeff"]) == 1


def test_counts_of_more_digits_and_none():
    assert SCORERS["count"]("1,200", ["1200"]) == SCORERS["count"]("none", ["0"]) == 1
    assert SCORERS["count"]("1,20", ["120"]) == 0
    with pytest.raises(AdaMolmoError, match="the answer 'many' is no number, as scorer 'count' expects"):
        SCORERS["count"]("many", ["many"])
