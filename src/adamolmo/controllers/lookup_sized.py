"""The table's accuracies with the latency that each request's own size lets expect.

The tables of `lookup.py` know one latency per configuration, their dataset's. Where images differ in size that is a bad
guide; the difference between both is what knowing the size is worth, without anything learned.
"""

from collections.abc import Set

import numpy as np

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.choosing import best_within
from adamolmo.controllers.lookup import table_of
from adamolmo.controllers.table import EXPECTED_LATENCY, table_path
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.inference.controller import Controller, Decision, Limit, Reading, Stage1Inputs
from adamolmo.knobs import KnobConfig

SIZE: Set[Reading] = frozenset({"size"})


class SizedLookupController(Controller):
    """The most accurate configuration that this request is expected to finish within the limit; no tolerance."""

    heeds_price = True

    def __init__(self, name: str, configs: list[KnobConfig], accuracy: np.ndarray, latency: ExpectedLatency):
        self.name = name
        self.decisions = [Decision.of(config) for config in configs]
        self.accuracy = accuracy
        self.latency = latency

    def reads(self, limit: Limit):
        return SIZE

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        expected_ms = self.latency(inputs.size.num_crops, inputs.size.input_tokens)
        return self.decisions[
            best_within(self.accuracy, expected_ms, inputs.limit.budget_ms, inputs.limit.price_per_ms)
        ]


def design(name: str) -> Design:
    return Design(SIZE)


def load(name: str, context: ControllerContext) -> SizedLookupController:
    """Raises AdaMolmoError for files that are unusable, lack the dataset, or cover another grid."""
    accuracy, latency = load_dataset(context)
    return SizedLookupController(name, context.fingerprint.grid.configs, accuracy, latency)


def load_dataset(context: ControllerContext) -> tuple[np.ndarray, ExpectedLatency]:
    """What the profile says of the context's dataset, or of all pooled: mean accuracy of every configuration of the
    grid, [configurations], and the latency to expect."""
    grid = context.fingerprint.grid
    accuracies = {entry.config: entry.accuracy for entry in table_of(context, "mean").entries}
    path = context.results / table_path(EXPECTED_LATENCY, None if context.lookup_pooled else context.dataset)
    latency = expected_latency.load(path, grid)
    return np.array([accuracies[config] for config in grid.configs]), latency


def mean_full_ms(context: ControllerContext) -> float:
    """Mean latency of the profile's requests in the full configuration, of the context's dataset or of all pooled."""
    full = context.fingerprint.grid.full
    return next(entry.latency_ms for entry in table_of(context, "mean").entries if entry.config == full)
