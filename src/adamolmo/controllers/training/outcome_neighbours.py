"""Corrections by what happened on the most similar profiled questions: k-nearest neighbours, the baseline that learned
routers must beat (arXiv 2505.12601).

Similar is near in the directions in which the features vary most. A neighbour tells how far its outcomes were from its
own dataset's table, so that neighbours of other datasets count, too.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch
from pandas import DataFrame
from torch import Tensor

from adamolmo.controllers.training.outcome_model import OutcomeModel, Outcomes, corrected, loss, prior_logits

if TYPE_CHECKING:
    from adamolmo.config.training import TrainingSettings

DIRECTIONS = 32
COUNTS = (10, 20, 40, 80, 160, 320)
# A neighbour's weight falls by e with this much of the mean squared distance between questions.
TEMPERATURES = (0.03, 0.1, 0.3, 1.0, 10.0)


class OutcomeNeighbours(OutcomeModel):
    """The profiled questions as points, and what was special about each."""

    def __init__(self, dim: int, num_configs: int, num_questions: int):
        super().__init__(dim)
        self.register_buffer("directions", torch.zeros(dim, DIRECTIONS))
        self.register_buffer("points", torch.zeros(num_questions, DIRECTIONS))
        self.register_buffer("surprises", torch.zeros(num_questions, num_configs))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("temperature", torch.ones(()))

    def correction(self, features: Tensor, table: Tensor) -> Tensor:
        distances = torch.cdist(features @ self.directions, self.points).square()  # [requests, questions]
        surprise = mean_surprise(distances, self.surprises, int(self.count), float(self.temperature))
        return as_correction(surprise, table)

    def fit(self, outcomes: Outcomes, settings: TrainingSettings, seed: int) -> tuple[DataFrame, Tensor]:
        """Neighbours of a held-out question are of other folds. The log has a row per combination that was tried."""
        features, everything = self.fit_standardise(outcomes.features), torch.ones(len(outcomes.fold), dtype=torch.bool)
        _, sizes, directions = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False)
        kept = min(DIRECTIONS, int((sizes > 1e-3 * sizes[0]).sum()))
        self.directions[:, :kept] = directions[:kept].T
        points = features @ self.directions
        # The mean squared distance between two questions becomes 1.
        self.directions /= (2 * points.var(dim=0).sum()).sqrt().clamp(min=1e-6)
        self.points.copy_(features @ self.directions)
        self.surprises.copy_(outcomes.accuracy - outcomes.table(everything)[outcomes.dataset])

        tables = outcomes.held_out_tables()
        distances = torch.cdist(self.points, self.points).square()
        distances[outcomes.fold[:, None] == outcomes.fold] = float("inf")
        surprises = outcomes.accuracy - tables
        fewest = min(int((outcomes.fold != fold).sum()) for fold in range(outcomes.num_folds))
        log, best = [], None
        for count, temperature in product(sorted({min(count, fewest) for count in COUNTS}), TEMPERATURES):
            correction = as_correction(mean_surprise(distances, surprises, count, temperature), tables)
            held_out_loss = loss(corrected(tables, correction), outcomes.accuracy).item()
            if best is None or held_out_loss < best[0]:
                best = held_out_loss, correction
                self.count.fill_(count)
                self.temperature.fill_(temperature)
            log.append({"step": len(log) + 1, "loss": held_out_loss, "held_out_loss": held_out_loss})
        return DataFrame(log), best[1]


def mean_surprise(distances: Tensor, surprises: Tensor, count: int, temperature: float) -> Tensor:
    """Squared distances [requests, questions] and surprises [questions, configurations] -> weighted means over the
    `count` nearest questions, [requests, configurations]."""
    nearest = distances.topk(count, dim=1, largest=False)
    weights = (-nearest.values / temperature).softmax(dim=1)
    return torch.zeros_like(distances).scatter_(1, nearest.indices, weights) @ surprises


def as_correction(surprise: Tensor, table: Tensor) -> Tensor:
    """In logits: from the table's accuracies to those that differ from them by `surprise`."""
    return prior_logits((table + surprise).clamp(0, 1)) - prior_logits(table)
