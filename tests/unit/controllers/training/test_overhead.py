"""What deciding is found to add, on an engine whose times are known."""

import itertools
from types import SimpleNamespace

import pytest
from policies import GRID

from adamolmo.controllers.training.overhead import Pinned, overhead_ms
from adamolmo.inference.controller import FixedController

ADDED_MS = {"low": 0.5, "high": 2.0}


def engine(noise_ms):
    """A request takes 10 ms, what the controller adds at its tier, and the next of `noise_ms`."""
    noise = itertools.cycle(noise_ms)

    def answer(image, question, style, controller, limit):
        added_ms = ADDED_MS[controller.config.tier] if isinstance(controller, Pinned) else 0.0
        return SimpleNamespace(stages=SimpleNamespace(total_ms=10.0 + added_ms + next(noise)))

    return SimpleNamespace(answer=answer, clock=SimpleNamespace(name="modelled"))


@pytest.mark.parametrize("noise_ms", [[0.0], [30.0, 0.0] * 12 + [0.0] * 6])  # five rounds of three pairs
def test_every_tier_has_its_own_and_a_busy_machine_adds_nothing(noise_ms):
    sample = SimpleNamespace(open_image=lambda: None, question="?")
    questions = SimpleNamespace(samples=[sample] * 3, style=None)
    configs = [next(config for config in GRID.configs if config.tier == tier) for tier in ADDED_MS]
    found = overhead_ms(engine(noise_ms), FixedController(configs[0]), questions, configs, budget_ms=20.0)
    assert found == pytest.approx(ADDED_MS)
