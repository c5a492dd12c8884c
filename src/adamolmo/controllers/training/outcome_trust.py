"""At which limits predictions are to be chosen by: where, on held-out images, they choose better than the table by more
than the standard error of the difference, although they take time and the table takes none.

A predictor with a lower loss than the table can still choose worse at some budget, where the few configurations that
compete there are just the ones that it tells apart badly, or where a high prediction is high by luck (the optimizer's
curse, Smith and Winkler, 2006). There the table chooses.

Limits are relative to what the dataset's requests take in the full configuration on average, so that they mean the same
for every dataset, and are known before anything of the request is read: where the table chooses, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from adamolmo.controllers.choosing import best_within
from adamolmo.inference.controller import Limit

SHARES = np.linspace(0.2, 1.2, 21)
PRICES = np.geomspace(0.01, 10, 19)  # of the full latency, in shares of right answers
SMOOTHED_OVER = 3  # neighbouring limits: a single one's gain is noisy


@dataclass(frozen=True)
class HeldOut:
    """Questions, each with what was predicted of it by what was fitted to other images.

    Attributes:
        probability: predicted, [questions, configurations].
        table: mean accuracies of the other images, [questions, configurations].
        accuracy, expected_ms: what is right, and what it is expected to take, [questions, configurations].
        images: [questions].
    """

    probability: np.ndarray
    table: np.ndarray
    accuracy: np.ndarray
    expected_ms: np.ndarray
    images: Sequence


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

    def fit(self, held_out: HeldOut, full_ms: np.ndarray, overheads_ms: np.ndarray) -> None:
        """Args:
        full_ms: of each question's dataset, mean of the full configuration, [questions].
        overheads_ms: what predicting adds to a request in every configuration, [configurations].
        """
        image_of = np.unique([str(image) for image in held_out.images], return_inverse=True)[1]
        full_ms = full_ms[:, None]

        def worth(of: np.ndarray, own_ms: np.ndarray | float, budget_ms, price_per_ms) -> np.ndarray:
            """Of the choices by `of`, [questions]."""
            ms = held_out.expected_ms + own_ms
            choice = best_within(of, ms, budget_ms, price_per_ms)[:, None]
            return np.take_along_axis(held_out.accuracy - price_per_ms * ms, choice, axis=1)[:, 0]

        def gain(budget_ms: np.ndarray | float, price_per_ms: np.ndarray | float) -> float:
            ours = worth(held_out.probability, overheads_ms, budget_ms, price_per_ms)
            gains = ours - worth(held_out.table, 0.0, budget_ms, price_per_ms)  # [questions]
            of_images = np.bincount(image_of, weights=gains - gains.mean())
            return float(gains.mean() - np.sqrt((of_images**2).sum()) / len(gains))

        self.budgets.copy_(_smoothed([gain(share * full_ms, 0.0) for share in SHARES]))
        self.prices.copy_(_smoothed([gain(np.inf, price / full_ms) for price in PRICES]))

    def __call__(self, limit: Limit, full_ms: float) -> bool:
        """At a limit of a dataset whose requests take `full_ms` on average in the full configuration."""
        if limit.price_per_ms > 0:
            return bool(self.prices[np.abs(np.log(PRICES / (limit.price_per_ms * full_ms))).argmin()] > 0)
        return bool(self.budgets[np.abs(SHARES - limit.budget_ms / full_ms).argmin()] > 0)


def _smoothed(gains: list[float]) -> Tensor:
    padded = np.pad(gains, SMOOTHED_OVER // 2, mode="edge")
    return torch.from_numpy(np.convolve(padded, np.full(SMOOTHED_OVER, 1 / SMOOTHED_OVER), mode="valid"))
