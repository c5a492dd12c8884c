"""The choice that accuracies, latencies and a limit leave: what tables and predictors have in common."""

import numpy as np


def best_within(
    accuracy: np.ndarray, latency_ms: np.ndarray, budget_ms: float | np.ndarray, price_per_ms: float | np.ndarray
) -> np.ndarray:
    """The configuration whose accuracy, less the price of its time, is highest among those within the budget; on a tie
    the fastest, and the fastest of all where none is within it.

    Args:
        accuracy, latency_ms: [..., configurations].
        budget_ms, price_per_ms: one for all, or [..., 1].

    Returns:
        Its index, [...].
    """
    attainable_ms = np.maximum(budget_ms, latency_ms.min(axis=-1, keepdims=True))
    worth = np.where(latency_ms <= attainable_ms, accuracy - price_per_ms * latency_ms, -np.inf)
    best = worth == worth.max(axis=-1, keepdims=True)
    return np.where(best, latency_ms, np.inf).argmin(axis=-1)
