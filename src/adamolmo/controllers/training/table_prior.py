"""The policy that a table is, from which the learned ones start and to which the KL term holds them.

    log pi(configuration) = log_softmax(network + reward(mean accuracy, expected latency, budget) / temperature)

The networks' heads are zero at the start, so training begins at the table's own choice and has to learn only where to
depart from it; without it a policy has to learn first what every table knows (docs/training.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adamolmo.config.training import RewardSettings, TrainingSettings
from adamolmo.controllers.training.reward import Profile, reward
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.inference.controller import Stage1Inputs


@dataclass(frozen=True)
class ProfilePrior:
    """Of profiled samples, for training.

    Attributes:
        profile: with the controller's own time in its latencies.
        table: mean accuracies, [datasets, configurations].
    """

    profile: Profile
    table: Tensor
    settings: TrainingSettings

    @classmethod
    def of(cls, profile: Profile, rows: Tensor, settings: TrainingSettings) -> ProfilePrior:
        """The tables of these rows."""
        return cls(profile, profile.table(rows), settings)

    def __call__(self, rows: Tensor, budget_ms: Tensor) -> Tensor:
        """Logits, [samples, budgets, configurations]: rows [samples], budgets [samples, budgets]."""
        accuracy = self.table[self.profile.dataset[rows]][:, None]
        return _logits(accuracy, self.profile.expected_ms[rows, None], budget_ms[..., None], self.settings)


class RequestPrior:
    """Of single requests.

    Args:
        accuracy: the table of the dataset at hand, [configurations].
        overhead_ms: what the controller adds to every configuration's latency.
    """

    def __init__(self, accuracy: np.ndarray, latency: ExpectedLatency, settings: TrainingSettings, overhead_ms: float):
        self.accuracy = torch.from_numpy(accuracy).float()
        self.latency = latency
        self.settings = settings
        self.overhead_ms = overhead_ms

    def __call__(self, inputs: Stage1Inputs) -> Tensor:
        """Logits, [configurations], on the CPU."""
        expected_ms = self.latency(inputs.size.num_crops, inputs.size.input_tokens) + self.overhead_ms
        budget_ms = torch.tensor(inputs.budget_ms)
        return _logits(self.accuracy, torch.from_numpy(expected_ms).float(), budget_ms, self.settings)


def _logits(accuracy: Tensor, latency_ms: Tensor, budget_ms: Tensor, settings: TrainingSettings) -> Tensor:
    """What a configuration's complexity costs is left out: a table does not know it."""
    weights: RewardSettings = settings.reward
    return reward(accuracy, latency_ms, torch.zeros(()), budget_ms, weights) / settings.prior_temperature
