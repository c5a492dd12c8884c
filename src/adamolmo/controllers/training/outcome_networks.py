"""Corrections by small networks, SEEDS per fold, whose mean is taken.

A network sees the request through HIDDEN units twice; its correction has rank RANK: RANK properties of the request
times how much each configuration gains from them. The last layer is zero at the start, so training begins at the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pandas import DataFrame
from torch import Tensor, nn

from adamolmo.controllers.training.outcome_model import OutcomeModel, Outcomes, corrected, loss
from adamolmo.progress import progress

if TYPE_CHECKING:
    from adamolmo.config.training import TrainingSettings

SEEDS = 3
HIDDEN = 64
RANK = 8
DROPOUT = 0.2
WEIGHT_DECAY = 0.05
LEARNING_RATE = 2e-3
BATCH = 128
STEPS_PER_ROW = 20


class OutcomeNetworks(OutcomeModel):
    """All networks side by side: their weights are stacked, so that one product serves all of them."""

    def __init__(self, dim: int, num_configs: int, num_folds: int):
        super().__init__(dim)
        n = SEEDS * num_folds
        self.first = nn.Parameter(torch.empty(n, dim, HIDDEN).uniform_(-(dim**-0.5), dim**-0.5))
        self.first_bias = nn.Parameter(torch.zeros(n, 1, HIDDEN))
        self.second = nn.Parameter(torch.empty(n, HIDDEN, HIDDEN).uniform_(-(HIDDEN**-0.5), HIDDEN**-0.5))
        self.second_bias = nn.Parameter(torch.zeros(n, 1, HIDDEN))
        self.properties = nn.Parameter(torch.zeros(n, HIDDEN, RANK))
        self.gains = nn.Parameter(0.1 * torch.randn(n, RANK, num_configs))

    def correction(self, features: Tensor, table: Tensor) -> Tensor:
        return self.of_networks(features.expand(len(self.first), -1, -1)).mean(dim=0)

    def of_networks(self, features: Tensor) -> Tensor:
        """[networks, requests, dim] -> [networks, requests, configurations]."""
        hidden = torch.baddbmm(self.first_bias, features, self.first)
        hidden = nn.functional.dropout(nn.functional.gelu(hidden, approximate="tanh"), DROPOUT, self.training)
        hidden = torch.baddbmm(self.second_bias, hidden, self.second)
        hidden = nn.functional.dropout(nn.functional.gelu(hidden, approximate="tanh"), DROPOUT, self.training)
        return hidden @ self.properties @ self.gains

    def fit(self, outcomes: Outcomes, settings: TrainingSettings, seed: int) -> tuple[DataFrame, Tensor]:
        """Every network keeps the weights that were best on the fold that it does not learn from."""
        generator = torch.Generator().manual_seed(seed)
        features = self.fit_standardise(outcomes.features)
        fold_of = torch.arange(outcomes.num_folds).repeat_interleave(SEEDS)  # [networks]
        learned = [(outcomes.fold != fold).nonzero()[:, 0] for fold in fold_of]
        held_out = (outcomes.fold == fold_of[:, None]).float()  # [networks, questions]
        tables = torch.stack([outcomes.table(outcomes.fold != fold) for fold in fold_of])[:, outcomes.dataset]
        which = torch.arange(len(learned))[:, None]
        optimiser = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best = {name: tensor.detach().clone() for name, tensor in self.named_parameters()}
        lowest, log, losses, rows_since_best = torch.full(fold_of.shape, float("inf")), [], [], 0
        for step in progress(range(1, settings.steps + 1), "outcome networks, steps", settings.steps):
            self.train()
            rows = torch.stack([of[torch.randint(len(of), (BATCH,), generator=generator)] for of in learned])
            probability = corrected(tables[which, rows], self.of_networks(features[rows]))
            batch_loss = loss(probability, outcomes.accuracy[rows])
            optimiser.zero_grad()
            (len(learned) * batch_loss).backward()  # the sum over networks: they do not share anything
            optimiser.step()
            losses.append(batch_loss.item())
            if step % STEPS_PER_ROW and step < settings.steps:
                continue
            every = self._of_all(features)
            now = (losses_of(corrected(tables, every), outcomes.accuracy) * held_out).sum(dim=1) / held_out.sum(dim=1)
            better, rows_since_best = now < lowest, rows_since_best + 1
            if better.any():
                rows_since_best = 0
            lowest = torch.minimum(lowest, now)
            for name, tensor in self.named_parameters():
                best[name][better] = tensor.detach()[better]
            log.append({"step": step, "loss": sum(losses) / len(losses), "held_out_loss": now.mean().item()})
            losses = []
            if rows_since_best >= settings.patience:
                break
        self.load_state_dict(self.state_dict() | best)
        every = self._of_all(features).unflatten(0, (-1, SEEDS)).mean(dim=1)  # [folds, questions, configurations]
        return DataFrame(log), every[outcomes.fold, torch.arange(len(features))]

    @torch.no_grad()
    def _of_all(self, features: Tensor) -> Tensor:
        """[questions, dim] -> [networks, questions, configurations]"""
        self.eval()
        return self.of_networks(features.expand(len(self.first), -1, -1))


def losses_of(probability: Tensor, accuracy: Tensor) -> Tensor:
    """Binary cross-entropy in nats, mean over the configurations: [networks, questions, configurations] and
    [questions, configurations] -> [networks, questions]."""
    expanded = accuracy.expand(len(probability), -1, -1)
    return nn.functional.binary_cross_entropy(probability, expanded, reduction="none").mean(dim=-1)
