"""Accuracy against latency: which points no other point beats, and how much area they cover."""

import numpy as np
from numpy.typing import ArrayLike

from adamolmo.errors import AdaMolmoError
from adamolmo.statistics.intervals import DEFAULT_RESAMPLING, Resampling, cluster_weights, mean


def frontier(latency: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Indices of the points [n] that no other point beats, by ascending latency (and so by ascending accuracy).

    A point is beaten by one that is as fast and as accurate and better in one of the two; of equal points the first
    counts. Raises AdaMolmoError when the two differ in length or hold a number that is not finite.
    """
    latency, accuracy = _checked(latency, accuracy)
    order = np.lexsort((-accuracy, latency))  # stable: the fastest first, of these the most accurate
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracy[order])[:-1]])
    return order[accuracy[order] > best_before]


def hypervolume(
    latency: ArrayLike, accuracy: ArrayLike, reference_latency_ms: float, reference_accuracy: float = 0.0
) -> np.ndarray:
    """Area between the frontier of the points and the reference point, in accuracy x ms (Zitzler and Thiele, 1999).

    Args:
        latency, accuracy: [..., points]; the result has the leading shape [...].
        reference_latency_ms, reference_accuracy: slower or less accurate points cover nothing.
    """
    latency, accuracy = _checked(latency, accuracy)
    latency = np.minimum(latency, reference_latency_ms)
    order = np.argsort(latency, axis=-1, kind="stable")
    latency, accuracy = np.take_along_axis(latency, order, -1), np.take_along_axis(accuracy, order, -1)
    height = np.maximum(np.maximum.accumulate(accuracy, axis=-1) - reference_accuracy, 0.0)
    until = np.concatenate([latency[..., 1:], np.full_like(latency[..., :1], reference_latency_ms)], axis=-1)
    return (height * (until - latency)).sum(axis=-1)


def resampled_hypervolume(
    latency: ArrayLike,
    accuracy: ArrayLike,
    clusters: ArrayLike,
    reference_latency_ms: float,
    reference_accuracy: float = 0.0,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> tuple[float, np.ndarray]:
    """The hypervolume of one controller over its budgets, and that of each resample by image [resamples], of which
    `percentile_interval` makes an interval.

    Args:
        latency, accuracy: [budgets, n], outcomes of the same n samples at every budget; a budget's point is
            (mean latency, mean accuracy) over the samples.
        clusters: the image of each sample, [n].

    With equal clusters and resampling, two controllers see the same resamples: their difference is a paired bootstrap.
    """
    latency, accuracy = _checked(latency, accuracy)
    if latency.ndim != 2 or latency.shape[1] != len(clusters):
        raise AdaMolmoError(
            f"A hypervolume needs outcomes [budgets, samples]; found shape {latency.shape} for {len(clusters)} samples."
        )

    def area(weights: np.ndarray) -> np.ndarray:
        points = [np.stack([mean(row, weights) for row in outcomes], axis=-1) for outcomes in (latency, accuracy)]
        return hypervolume(*points, reference_latency_ms, reference_accuracy)

    resampled = np.concatenate([area(weights) for weights in cluster_weights(clusters, resampling)])
    return float(area(np.ones((1, len(clusters)), dtype=np.int64))[0]), resampled


def _checked(latency: ArrayLike, accuracy: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    latency, accuracy = np.asarray(latency, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if latency.shape != accuracy.shape or latency.size == 0:
        raise AdaMolmoError(
            f"Latencies of shape {latency.shape} and accuracies of shape {accuracy.shape} are not points; "
            "expected one accuracy for each latency, and at least one."
        )
    if not (np.isfinite(latency).all() and np.isfinite(accuracy).all()):
        raise AdaMolmoError("A latency or accuracy is not a finite number; a frontier needs finite points.")
    return latency, accuracy
