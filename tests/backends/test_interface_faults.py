"""The contract's part about what is refused, and about faults in the middle of something."""

import functools
from typing import Any

import pytest
import torch
from asking import PREFIX, asked, grid, samples_of
from requests_of import QUESTIONS
from torch.utils._python_dispatch import TorchDispatchMode

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import answer_grid, prepare_group
from adamolmo.knobs import KnobConfig


def refused(engine: Engine, picture: Any, question: str, **changes) -> str:
    sizes = engine.backend.sizes
    setting = {"tier": engine.backend.tiers[0], "top_k": sizes.top_k, "num_active_blocks": sizes.num_layers} | changes
    with pytest.raises(AdaMolmoError) as error:
        asked(engine, picture, KnobConfig(**setting), question)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 300
    return sentence


def test_what_cannot_be_asked_is_refused_in_one_sentence(engine, pictures):
    backend, config = engine.backend, grid(engine.backend, engine.backend.tiers[0])[1]
    sizes, want = backend.sizes, asked(engine, pictures[0], config).answer
    refuse = functools.partial(refused, engine, pictures[0])
    assert "tier is 'huge'" in refuse(QUESTIONS[0], tier="huge")
    assert f"top_k is {sizes.num_experts + 1}" in refuse(QUESTIONS[0], top_k=sizes.num_experts + 1)
    assert "top_k is 0" in refuse(QUESTIONS[0], top_k=0)
    assert f"takes {PREFIX} to" in refuse(QUESTIONS[0], num_active_blocks=PREFIX - 1)
    assert "expected a shorter question" in refuse("red " * sizes.max_positions)
    assert asked(engine, pictures[0], config).answer == want


class Fault(BaseException):
    """No library on the way takes it for an error of its own."""


class FailsAt(TorchDispatchMode):
    """Lets `allowed` operations run; the next one fails, as a device might."""

    def __init__(self, allowed: float):
        super().__init__()
        self.allowed, self.done = allowed, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.done += 1
        if self.done > self.allowed:
            raise Fault
        return function(*args, **(kwargs or {}))


def test_after_a_fault_in_the_middle_of_a_request_the_next_answer_is_right(engine, pictures):
    backend = engine.backend
    config, other = grid(backend, backend.tiers[0])[2], grid(backend, backend.tiers[-1])[-1]
    want = asked(engine, pictures[0], config), asked(engine, pictures[1], other)
    with FailsAt(float("inf")) as counting:
        assert asked(engine, pictures[0], config) == want[0]
    assert counting.done > 100
    for allowed in range(0, counting.done, counting.done // 7):
        with pytest.raises(Fault), FailsAt(allowed):
            asked(engine, pictures[0], config)
        assert (asked(engine, pictures[0], config), asked(engine, pictures[1], other)) == want, allowed


def test_after_a_fault_in_the_middle_of_a_batch_the_next_answers_are_right(engine, pictures):
    variants = {config: engine.decoder_knobs(config) for config in grid(engine.backend, engine.backend.tiers[0])}
    groups = [prepare_group(engine, samples_of(pictures)[:2], None, engine.backend.tiers[0])]

    def answers():
        with torch.inference_mode():
            return answer_grid(engine, groups, variants)

    want = answers()
    with FailsAt(float("inf")) as counting:
        answers()
    for allowed in range(1, counting.done, counting.done // 4):
        with pytest.raises(Fault), FailsAt(allowed):
            answers()
        assert answers() == want
