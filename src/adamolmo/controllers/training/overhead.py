"""What a controller adds to a request's latency: its networks, the budget token, the loss of batching in vision.

The last depends on the vision tier: where one crop is all that there is, looking at it first costs nothing.
"""

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
from torch import Tensor

from adamolmo.data.samples import Questions, Sample
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller, Decision, FixedController, Limit, Reading, Stage1Inputs
from adamolmo.inference.engine import Engine
from adamolmo.knobs import KnobConfig


class Pinned(Controller):
    """Does all the work of another controller and then always takes one configuration."""

    def __init__(self, controller: Controller, config: KnobConfig):
        self.name = f"{controller.name} pinned to {config}"
        self.controller = controller
        self.config = config

    def reads(self, limit: Limit) -> Set[Reading]:
        return self.controller.reads(limit)

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        return replace(self.controller.predict_stage1(inputs), tier=self.config.tier)

    def budget_token(self, budget_ms: float) -> Tensor | None:
        return self.controller.budget_token(budget_ms)

    def predict_stage2(self, budget_ms: float, decision: Decision, budget_state: Tensor | None) -> tuple[int, int]:
        self.controller.predict_stage2(budget_ms, decision, budget_state)
        return self.config.top_k, self.config.num_active_blocks


def overhead_ms(
    engine: Engine,
    controller: Controller,
    questions: Questions,
    configs: Sequence[KnobConfig],
    budget_ms: float,
    repeats: int = 5,
) -> dict[str, float]:
    """What the controller adds to a request's latency in one configuration of each tier, by tier: median over samples,
    in ms, at least 0.

    A request without and one with the controller follow each other, so that a change of the device hits both; of the
    `repeats` of each the fastest counts, because what else the machine does can only make them slower.
    """
    limit = Limit(budget_ms)

    def latency_ms(sample: Sample, by: Controller) -> float:
        return engine.answer(sample.open_image(), sample.question, questions.style, by, limit).stages.total_ms

    def added_ms(config: KnobConfig) -> float:
        plain, with_controller = FixedController(config), Pinned(controller, config)
        if engine.clock.name == "measured":
            warm_up(lambda: latency_ms(questions.samples[0], with_controller), max_runs=20)
        runs_ms = [
            [[latency_ms(sample, by) for by in (with_controller, plain)] for sample in questions.samples]
            for _ in range(repeats)
        ]
        fastest_ms = np.min(runs_ms, axis=0)  # [samples, with and without]
        return max(0.0, float(np.median(fastest_ms[:, 0] - fastest_ms[:, 1])))

    return {config.tier: added_ms(config) for config in configs}
