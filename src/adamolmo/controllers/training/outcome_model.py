"""Predicts how likely every configuration answers a request right: the table's means, moved by what the request shows.

    logit p(right | request, configuration) = logit(mean accuracy of the configuration) + strength * correction

The profile is full feedback: the outcome of every configuration on every question is known, so nothing is drawn and no
reward is weighed; predictions are fitted to all outcomes at once (predict, then optimise: arXiv 2502.03261,
2410.04707).
The mean accuracies are an input, not parameters: a request of a dataset that nothing was fitted to starts from that
dataset's own table.

Everything that is tuned is tuned on predictions of held-out images: the images are split into folds, each fold's
questions are predicted by what was fitted to the other folds (cross-fitting; stacked generalisation, Wolpert, 1992).
`strength`, from 0 to 1, is what serves these predictions best. 0 is the table itself, so a predictor is never worse
than the table there. For the same reason `trust` says at which limits the choices by the predictions beat those by the
table; at the others the table is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adamolmo.errors import AdaMolmoError

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import TrainingSettings

STRENGTHS = 21
MOST_DEVIATIONS = 4.0  # of a feature from its mean: what lies farther out was never seen, and is taken for that
MARGIN = 0.01  # no table is certain: its accuracies enter as shares between this and 1 - this


@dataclass(frozen=True)
class Outcomes:
    """What is learned from, one row per profiled question.

    Attributes:
        features: what is seen of the request, [questions, dim].
        accuracy: of every configuration, 0 to 1, [questions, configurations].
        dataset: index of the dataset, [questions].
        fold: in which each question is held out, [questions].
    """

    features: Tensor
    accuracy: Tensor
    dataset: Tensor
    fold: Tensor

    @property
    def num_folds(self) -> int:
        return int(self.fold.max()) + 1

    def table(self, rows: Tensor) -> Tensor:
        """Mean accuracies over those of `rows` (a mask) that are of a dataset, over all of `rows` for a dataset that
        has none: [datasets, configurations]."""
        member = nn.functional.one_hot(self.dataset, int(self.dataset.max()) + 1).T * rows  # [datasets, questions]
        member = torch.where(member.sum(dim=1, keepdim=True) > 0, member, rows).to(self.accuracy)
        return member @ self.accuracy / member.sum(dim=1, keepdim=True)

    def held_out_tables(self) -> Tensor:
        """Each question's table, made of the other folds: [questions, configurations]."""
        tables = torch.stack([self.table(self.fold != fold) for fold in range(self.num_folds)])
        return tables[self.fold, self.dataset]


def folds_by_image(images: Sequence, held_out: float, seed: int) -> Tensor:
    """Folds of about `held_out` of the images each, at least two: [questions].

    Raises AdaMolmoError when there are fewer images than folds.
    """
    names = sorted(set(images))
    num_folds = max(2, round(1 / held_out))
    if len(names) < num_folds:
        raise AdaMolmoError(
            f"training.held_out is {held_out:g} and the profile has {len(names)} images; "
            f"expected at least {num_folds}, so that each can be held out once."
        )
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    fold_of = {names[index]: place % num_folds for place, index in enumerate(order)}
    return torch.tensor([fold_of[image] for image in images])


class OutcomeModel(nn.Module, ABC):
    """Features of requests and the tables of their datasets -> probabilities of right answers."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("inverse_spread", torch.zeros(dim))
        self.register_buffer("strength", torch.zeros(()))

    def standardise(self, features: Tensor) -> Tensor:
        """[requests, dim]; 0 for a feature that never varied in the profile, for nothing is known of other values."""
        return ((features - self.mean) * self.inverse_spread).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)

    def fit_standardise(self, features: Tensor) -> Tensor:
        """From now on these have mean 0 and variance 1: [questions, dim]; returns them so."""
        spread = features.std(dim=0, correction=0)
        self.mean.copy_(features.mean(dim=0))
        self.inverse_spread.copy_(torch.where(spread > 1e-6, 1 / spread, 0.0))
        return self.standardise(features)

    @abstractmethod
    def fit(self, outcomes: Outcomes, settings: TrainingSettings, seed: int) -> tuple[DataFrame, Tensor]:
        """Fits what `correction` needs; returns the training log, and the corrections of every question by what was
        fitted without its fold, [questions, configurations]."""

    @abstractmethod
    def correction(self, features: Tensor, table: Tensor) -> Tensor:
        """In logits: standardised [requests, dim] and [requests or 1, configurations] -> [requests, configurations]."""

    def forward(self, features: Tensor, table: Tensor) -> Tensor:
        """Probabilities, [requests, configurations].

        Args:
            features: [requests, dim].
            table: mean accuracies of the configurations, [requests or 1, configurations].
        """
        return corrected(table, self.strength * self.correction(self.standardise(features), table))


def corrected(table: Tensor, correction: Tensor) -> Tensor:
    return (prior_logits(table) + correction).sigmoid()


def prior_logits(table: Tensor) -> Tensor:
    return (MARGIN + (1 - 2 * MARGIN) * table).logit()


def loss(probability: Tensor, accuracy: Tensor) -> Tensor:
    """Binary cross-entropy in nats; accuracies may be fractions."""
    return nn.functional.binary_cross_entropy(probability, accuracy)


def calibrate(model: OutcomeModel, outcomes: Outcomes, correction: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Sets the strength; returns the held-out probabilities, [questions, configurations], and the losses.

    Args:
        correction: of held-out questions, [questions, configurations].
    """
    table = outcomes.held_out_tables()
    strengths = torch.linspace(0, 1, STRENGTHS)
    losses = torch.stack([loss(corrected(table, s * correction), outcomes.accuracy) for s in strengths])
    best = int(losses.argmin())
    model.strength.fill_(strengths[best])
    held_out = {"held_out_loss": losses[best].item(), "held_out_loss_of_table": losses[0].item()}
    return corrected(table, strengths[best] * correction), held_out
