"""At which limits predictions are to be chosen by: where, on held-out images, they choose better than the table by more
than the standard error of the difference.

A predictor with a lower loss than the table can still choose worse at some budget, where the few configurations that
compete there are just the ones that it tells apart badly, or where a high prediction is high by luck (the optimizer's
curse, Smith and Winkler, 2006). There the table chooses.

Limits are relative to what the request would take in the full configuration, so that they mean the same for requests of
every size and dataset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adamolmo.controllers.choosing import best_within

SHARES = np.linspace(0.2, 1.2, 21)
PRICES = np.geomspace(0.01, 10, 19)  # of the full latency, in shares of right answers
SMOOTHED_OVER = 3  # neighbouring limits: a single one's gain is noisy


class Trust(nn.Module):
    """Whether to choose by the predictions, by relative budget and by relative price.

    Attributes:
        budgets, prices: the mean held-out gain over the table less its standard error, at SHARES and at PRICES, in
            shares of right answers (at a price, less the price of the time), smoothed: [limits].
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("budgets", torch.zeros(len(SHARES)))
        self.register_buffer("prices", torch.zeros(len(PRICES)))

    def fit(self, probability: Tensor, table: Tensor, accuracy: Tensor, expected_ms: Tensor, images: Sequence) -> None:
        """All [questions, configurations], the first two of held-out questions; images [questions]."""
        image_of = np.unique([str(image) for image in images], return_inverse=True)[1]
        predicted, known, right, ms = (
            values.double().numpy() for values in (probability, table, accuracy, expected_ms)
        )
        full_ms = ms[:, -1:]

        def gain(budget_ms: np.ndarray | float, price_per_ms: np.ndarray | float) -> float:
            worth = right - price_per_ms * ms
            by = [best_within(of, ms, budget_ms, price_per_ms)[:, None] for of in (predicted, known)]
            ours, tables = (np.take_along_axis(worth, choice, axis=1)[:, 0] for choice in by)
            gains = ours - tables  # [questions]
            of_images = np.bincount(image_of, weights=gains - gains.mean())
            return float(gains.mean() - np.sqrt((of_images**2).sum()) / len(gains))

        self.budgets.copy_(_smoothed([gain(share * full_ms, 0.0) for share in SHARES]))
        self.prices.copy_(_smoothed([gain(np.inf, price / full_ms) for price in PRICES]))

    def __call__(self, full_ms: float, budget_ms: float, price_per_ms: float) -> bool:
        """At a limit of a request that would take `full_ms` in the full configuration."""
        if price_per_ms > 0:
            return bool(self.prices[np.abs(np.log(PRICES / (price_per_ms * full_ms))).argmin()] > 0)
        return bool(self.budgets[np.abs(SHARES - budget_ms / full_ms).argmin()] > 0)


def _smoothed(gains: list[float]) -> Tensor:
    padded = np.pad(gains, SMOOTHED_OVER // 2, mode="edge")
    return torch.from_numpy(np.convolve(padded, np.full(SMOOTHED_OVER, 1 / SMOOTHED_OVER), mode="valid"))
