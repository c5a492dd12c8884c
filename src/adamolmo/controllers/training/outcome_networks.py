"""Corrections by small networks, one per fold, whose mean is taken.

A network sees the request through HIDDEN units twice; its correction has rank RANK: RANK properties of the request
times how much each configuration gains from them. The last layer is zero at the start, so training begins at the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adamolmo.controllers.training.outcome_model import OutcomeModel, Outcomes, corrected, loss
from adamolmo.progress import progress

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import TrainingSettings

HIDDEN = 64
RANK = 8
DROPOUT = 0.2
WEIGHT_DECAY = 0.05
LEARNING_RATE = 2e-3
BATCH = 128
STEPS_PER_ROW = 20


class OutcomeNetworks(OutcomeModel):
    """All networks side by side: their weights are stacked, so that one product serves all of them."""

    def __init__(self, dim: int, num_configs: int, num_networks: int):
        super().__init__(dim)
        n = num_networks
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
        import pandas as pd

        generator = torch.Generator().manual_seed(seed)
        features, folds = self.fit_standardise(outcomes.features), range(outcomes.num_folds)
        learned = [(outcomes.fold != fold).nonzero()[:, 0] for fold in folds]
        held_out = [(outcomes.fold == fold).nonzero()[:, 0] for fold in folds]
        tables = torch.stack([outcomes.table(outcomes.fold != fold) for fold in folds])  # [networks, datasets, configs]
        which = torch.arange(len(learned))[:, None]
        optimiser = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best = {name: tensor.detach().clone() for name, tensor in self.named_parameters()}
        lowest, log, losses, rows_since_best = [float("inf")] * len(learned), [], [], 0
        for step in progress(range(1, settings.steps + 1), "outcome networks, steps", settings.steps):
            self.train()
            rows = torch.stack([of[torch.randint(len(of), (BATCH,), generator=generator)] for of in learned])
            probability = corrected(tables[which, outcomes.dataset[rows]], self.of_networks(features[rows]))
            batch_loss = loss(probability, outcomes.accuracy[rows])
            optimiser.zero_grad()
            (len(learned) * batch_loss).backward()  # the sum over networks: they do not share anything
            optimiser.step()
            losses.append(batch_loss.item())
            if step % STEPS_PER_ROW and step < settings.steps:
                continue
            now = self._held_out_losses(features, outcomes, held_out, tables)
            rows_since_best += 1
            for fold, (value, before) in enumerate(zip(now, lowest, strict=True)):
                if value < before:
                    lowest[fold], rows_since_best = value, 0
                    for name, tensor in self.named_parameters():
                        best[name][fold] = tensor.detach()[fold]
            log.append({"step": step, "loss": sum(losses) / len(losses), "held_out_loss": sum(now) / len(now)})
            losses = []
            if rows_since_best >= settings.patience:
                break
        self.load_state_dict(self.state_dict() | best)
        self.eval()
        with torch.no_grad():
            every = self.of_networks(features.expand(len(learned), -1, -1))
        return pd.DataFrame(log), every[outcomes.fold, torch.arange(len(features))]

    @torch.no_grad()
    def _held_out_losses(self, features: Tensor, outcomes: Outcomes, held_out: list[Tensor], tables: Tensor):
        self.eval()
        every = self.of_networks(features.expand(len(held_out), -1, -1))
        return [
            loss(corrected(tables[fold, outcomes.dataset[rows]], every[fold, rows]), outcomes.accuracy[rows]).item()
            for fold, rows in enumerate(held_out)
        ]
