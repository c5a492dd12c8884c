"""Whether predicted probabilities come true: predictions against outcomes on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pandas import DataFrame
from torch import Tensor

from adamolmo.statistics.intervals import CONFIDENCE, Resampling, cluster_weights

BINS = 10
RESAMPLING = Resampling(1000, 0)


def reliability(probability: Tensor, accuracy: Tensor, images: Sequence) -> DataFrame:
    """The rows of the table `reliability`: predictions in bins of equal counts (Niculescu-Mizil and Caruana, 2005),
    with 95 % bootstrap intervals of what was observed, by image. Bins whose predictions are all equal are one.

    Args:
        probability: of held-out questions, [questions, configurations].
        accuracy: [questions, configurations].
        images: [questions].
    """
    predicted, observed = probability.double().numpy(), accuracy.double().numpy()
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)))
    bin_of = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = [str(image) for image in images]
    rows = []
    for number in range(max(len(edges) - 1, 1)):
        member = (bin_of == number).astype(float)
        count, right = member.sum(axis=1), (member * observed).sum(axis=1)  # [questions]
        resampled = np.concatenate(
            [weights @ right / np.maximum(weights @ count, 1) for weights in cluster_weights(names, RESAMPLING)]
        )
        low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        if count.sum():
            rows.append(
                {
                    "bin": len(rows) + 1,
                    "predicted": (member * predicted).sum() / count.sum(),
                    "observed": right.sum() / count.sum(),
                    "observed_low": low,
                    "observed_high": high,
                    "num_predictions": int(count.sum()),
                }
            )
    return DataFrame(rows)
