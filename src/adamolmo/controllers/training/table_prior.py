"""The policy that a table is, from which the learned ones start and to which the KL term holds them.

    log pi(configuration) = log_softmax(network + reward(mean accuracy, expected latency, budget) / temperature)

The networks' heads are zero at the start, so training begins at the table's own choice and has to learn only where to
depart from it; without it a policy has to learn first what every table knows (docs/training.md). What a configuration's
complexity costs is left out: a table does not know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from adamolmo.config.training import TrainingSettings
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
        accuracy, expected_ms = self.table[self.profile.dataset[rows]][:, None], self.profile.expected_ms[rows, None]
        rewards = reward(accuracy, expected_ms, torch.zeros(()), budget_ms[..., None], self.settings.reward)
        return rewards / self.settings.prior_temperature


class RequestPrior:
    """Of single requests, in arrays: for so few numbers every call of PyTorch costs more than the arithmetic.

    Args:
        accuracy: the table of the dataset at hand, [configurations].
        overheads_ms: what the controller adds to every configuration's latency, [configurations].
    """

    def __init__(
        self, accuracy: np.ndarray, latency: ExpectedLatency, settings: TrainingSettings, overheads_ms: Sequence[float]
    ):
        self.accuracy = accuracy.astype(np.float32)
        self.latency = latency
        self.settings = settings
        self.overheads_ms = np.array(overheads_ms)

    def __call__(self, inputs: Stage1Inputs) -> np.ndarray:
        """Logits, [configurations], float32."""
        expected_ms = self.latency(inputs.size.num_crops, inputs.size.input_tokens) + self.overheads_ms
        weights = self.settings.reward
        rewards = reward(self.accuracy, expected_ms.astype(np.float32), 0.0, inputs.budget_ms, weights, expit)
        return rewards / self.settings.prior_temperature
