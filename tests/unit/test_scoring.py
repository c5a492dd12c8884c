"""VQA soft accuracy where there are fewer than ten answers."""

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


def test_no_answers():
    with pytest.raises(AdaMolmoError, match="no answers"):
        SCORERS["vqa"]("red", [])
