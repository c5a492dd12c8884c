"""Bootstrap over a task's own aggregation, clustered by image: lmms-eval has no interval for MME, POPE and others."""

import contextlib
import inspect
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adamolmo.errors import AdaMolmoError
from adamolmo.statistics.intervals import Resampling, cluster_weights, mean

Aggregation = Callable[..., float]


def resampled_values(
    items: Sequence[Any], clusters: Sequence[str], aggregation: Aggregation, resampling: Resampling, args: Any = None
) -> np.ndarray:
    """The metric on every resample of whole clusters: [resamples].

    Equal clusters and resamplings give equal resamples, so the values of two models on the same documents are paired.

    Args:
        items: what the task made of each document, input of its aggregation: [n].
        clusters: the image of each document: [n].
        args: what an aggregation with a parameter `args` gets.

    Raises AdaMolmoError when the aggregation fails on a resample.
    """
    try:
        numbers = _as_mean(items, aggregation, args)
        blocks = cluster_weights(clusters, resampling)
        if numbers is not None:
            return np.concatenate([mean(numbers, weights) for weights in blocks])
        copies = _Copies(items)
        return np.array([float(aggregation(copies.drawn(times))) for weights in blocks for times in weights])
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise AdaMolmoError(f"the task's aggregation cannot be resampled ({type(error).__name__}: {error})") from error


def _as_mean(items: Sequence[Any], aggregation: Aggregation, args: Any) -> np.ndarray | None:
    """One number per item when the metric is their mean, else None.

    An aggregation with a parameter `args` writes files: it is not run on a thousand resamples, but once per document.
    """
    if "args" in inspect.signature(aggregation).parameters:
        with contextlib.redirect_stdout(io.StringIO()):
            numbers = np.array([float(aggregation([item], args)) for item in items])
            whole = float(aggregation(list(items), args))
    elif aggregation.__name__ == "mean":
        numbers, whole = np.array(items, dtype=float), float(aggregation(list(items)))
    else:
        return None
    if not math.isclose(numbers.mean(), whole, rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError("it is no mean over documents")
    return numbers


class _Copies:
    """Items, and their copies for when they are drawn more than once: a copy is another question."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._levels = [list(items)]

    def drawn(self, times: np.ndarray) -> list:
        """Item i as often as times[i] says."""
        while len(self._levels) < times.max():
            self._levels.append([_renamed(item, len(self._levels)) for item in self._levels[0]])
        return [self._levels[copy][i] for i, count in enumerate(times) for copy in range(count)]


def _renamed(item: Any, copy: int) -> Any:
    if isinstance(item, dict) and "question_id" in item:
        return {**item, "question_id": f"{item['question_id']} (copy {copy})"}
    return item
