"""Choices of single requests, in arrays: from accuracies, latencies and a limit, or from a policy's logits."""

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


def log_mass(logits: np.ndarray) -> np.ndarray:
    """Logarithm of what the members of each group weigh together: [groups, members] -> [groups]."""
    highest = logits.max(axis=1)
    return highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))


def most_probable(logits: np.ndarray) -> int:
    """Index of the most probable configuration at the most probable tier: [tiers, configurations of a tier]."""
    tier = int(log_mass(logits).argmax())
    return tier * logits.shape[1] + int(logits[tier].argmax())
