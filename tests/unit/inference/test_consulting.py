"""A controller may be anybody's: what it says is used as it is meant, or is one sentence with its name."""

import numpy as np
import pytest
import torch

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.controller import NOTHING, Controller, Decision, Limit
from adamolmo.knobs import KnobConfig


class Says(Controller):
    """What it is given, whatever that is."""

    name = "mine"

    def __init__(self, decision=None, *, reads=NOTHING, token=None, second=None):
        self.first, self.read, self.token, self.second = decision, reads, token, second

    def reads(self, limit):
        return self.read

    def predict_stage1(self, inputs):
        return self.first

    def budget_token(self, budget_ms):
        return self.token

    def predict_stage2(self, budget_ms, decision, budget_state):
        return self.second or super().predict_stage2(budget_ms, decision, budget_state)


@pytest.fixture
def answer(tiny_engine, tiny_samples):
    sample = tiny_samples[0]
    return lambda controller: tiny_engine.answer(sample.open_image(), sample.question, None, controller, Limit(5.0))


@pytest.mark.parametrize("number", [int, np.int64, np.uint8, torch.tensor])
def test_whole_numbers_of_any_library_are_plain_numbers_in_the_results(answer, number):
    config = answer(Says(Decision("low", (number(2), number(5))))).config
    assert config == KnobConfig("low", 2, 5) and {type(config.top_k), type(config.num_active_blocks)} == {int}


OPEN = Decision("low")
FAULTS = {
    "no decision": (Says(None), "decides by 'None'; expected a Decision from predict_stage1"),
    "a configuration": (Says(KnobConfig("low", 2, 5)), "decides by 'low-k2-b5'; expected a Decision"),
    "a pair": (Says(("low", 2)), "expected a Decision"),
    "fractions": (Says(Decision("low", (2.5, 5))), r"chooses '\(2.5, 5\)'; expected two whole numbers"),
    "floats": (Says(Decision("low", (2.0, 5))), "expected two whole numbers"),
    "NaN": (Says(Decision("low", (float("nan"), 5))), "expected two whole numbers"),
    "texts": (Says(Decision("low", ("2", "5"))), "expected two whole numbers"),
    "true": (Says(Decision("low", (True, 5))), "expected two whole numbers"),
    "one number": (Says(Decision("low", (2,))), "expected two whole numbers"),
    "nothing in stage 2": (Says(OPEN), "leaves top_k and blocks open; expected its predict_stage2"),
    "floats in stage 2": (Says(OPEN, second=(2.0, 5.0)), "expected two whole numbers"),
    "an unknown reading": (
        Says(OPEN, reads={"pixels"}),
        "reads '{'pixels'}'; expected a set of some of size, question",
    ),
    "a text of readings": (Says(OPEN, reads="size"), "reads 'size'; expected a set"),
    "no readings": (Says(OPEN, reads=None), "reads 'None'; expected a set"),
    "a flat token": (Says(OPEN, token=torch.zeros(16)), r"has a budget token of '\(\(16,\)"),
    "a wide token": (Says(OPEN, token=torch.zeros(1, 17)), r"expected a tensor of \(\(1, 16\)"),
    "a token of doubles": (Says(OPEN, token=torch.zeros(1, 16, dtype=torch.float64)), "torch.float64"),
    "an array": (Says(OPEN, token=np.zeros((1, 16))), "has a budget token of .*float64"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_anything_else_is_one_sentence_with_its_name(answer, fault):
    controller, sentence = FAULTS[fault]
    with pytest.raises(AdaMolmoError, match=f"^controller 'mine' .*{sentence}"):
        answer(controller)
