"""What the study claims, with its uncertainty: bootstrap, sign-flip test, binomial bounds, correction for many tests.

Several questions share one image, so their outcomes are not independent: bootstrap and test work on whole images.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv  # scipy.stats takes every job half a second longer to import

from adamolmo.errors import AdaMolmoError
from adamolmo.statistics.interval import Interval

CONFIDENCE = 0.95
_ENDS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]  # quantiles
SIGNIFICANCE = 0.05  # below this, after correction, a difference counts as shown
PERMUTATIONS = 10_000
_MAX_WEIGHTS = 4_000_000  # of one block of resamples: bounds the memory at about 100 MB

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Resampling:
    """How a bootstrap draws: this many resamples, from this seed."""

    number: int = 2000
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of `values` [n], where value i counts `weights[r, i]` times: [resamples]."""
    return weights @ values / weights.sum(axis=1)


def quantile(q: float) -> Statistic:
    """The statistic 'quantile q', between neighbours interpolated linearly, as `numpy.quantile` does."""

    def statistic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        ends = np.cumsum(weights[:, order], axis=1)  # value i fills the places ends[i-1] .. ends[i]-1 of the resample
        place = (ends[:, -1] - 1) * q
        below = np.floor(place).astype(ends.dtype)
        above = np.minimum(below + 1, ends[:, -1] - 1)
        lower = ordered[(ends <= below[:, None]).sum(axis=1)]
        upper = ordered[(ends <= above[:, None]).sum(axis=1)]
        return lower + (upper - lower) * (place - below)

    return statistic


median = quantile(0.5)


def clustered_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    statistic: Statistic = mean,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Interval:
    """Percentile bootstrap of a statistic of `values` [n] that resamples whole clusters (Davison and Hinkley, 1997).

    Args:
        values: one number per sample, finite.
        clusters: what each sample belongs to (the image): [n], any type that can be sorted.
        statistic: `mean`, `quantile(q)` or another function of (values [n], weights [resamples, n]) -> [resamples].

    With a single cluster nothing varies and the interval has no width. Raises AdaMolmoError when there is no value,
    a value is not finite, or `clusters` has another length.
    """
    values = _checked(values, "values", clusters)
    resampled = np.concatenate([statistic(values, weights) for weights in cluster_weights(clusters, resampling)])
    return percentile_interval(_plain(statistic, values), resampled)


def median_interval(values: ArrayLike, resampling: Resampling = DEFAULT_RESAMPLING) -> Interval:
    """Median of values [n] that are independent of each other, with its bootstrap interval."""
    return clustered_bootstrap(values, np.arange(len(values)), median, resampling)


def mean_intervals(values: ArrayLike, clusters: ArrayLike, resampling: Resampling = DEFAULT_RESAMPLING) -> np.ndarray:
    """`clustered_bootstrap` of the means of many rows [rows, n] over the same samples at once.

    Returns (value, low, high) [3, rows]; of the differences between two outcomes of the same samples
    that is the paired bootstrap: both sides see the same resample, so what makes a sample hard for both cancels.
    Raises as `clustered_bootstrap`.
    """
    rows = np.stack([_checked(row, "values", clusters) for row in np.atleast_2d(values)])
    drawn = cluster_weights(clusters, resampling)
    resampled = np.concatenate([weights @ rows.T / weights.sum(axis=1, keepdims=True) for weights in drawn])
    low, high = np.quantile(resampled, _ENDS, axis=0)
    return np.stack([rows.mean(axis=1), low, high])


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, clusters: ArrayLike, resampling: Resampling = DEFAULT_RESAMPLING
) -> Interval | None:
    """`clustered_bootstrap` of the sum of `numerators` [n] over that of `denominators` [n], neither of them negative.

    None where so few denominators are above 0 that resamples without any leave the ratio no upper end.
    Raises as `clustered_bootstrap`.
    """
    pairs = np.stack([_checked(numerators, "numerators", clusters), _checked(denominators, "denominators", clusters)])
    sums = np.concatenate([weights @ pairs.T for weights in cluster_weights(clusters, resampling)])
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = sums[:, 0] / sums[:, 1]
    if not np.isfinite(np.quantile(resampled, _ENDS[1], method="higher")):
        return None
    return percentile_interval(pairs[0].sum() / pairs[1].sum(), resampled)


def sign_flip_test(
    differences: ArrayLike, clusters: ArrayLike, permutations: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
    """Two-sided p-values of 'the two outcomes could as well be exchanged' for rows of paired differences [rows, n].

    The paired permutation test (Fisher, 1935; Monte Carlo as in Phipson and Smyth, 2010, so that p is never 0): under
    the hypothesis, exchanging the two controllers on all questions of an image changes nothing, which flips the sign of
    the image's sum of differences. The statistic is the mean difference. Equal outcomes have p = 1.
    """
    rows = np.stack([_checked(row, "differences", clusters) for row in np.atleast_2d(differences)])
    names, member_of = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.stack([np.bincount(member_of, weights=row, minlength=len(names)) for row in rows])
    observed = np.abs(sums.sum(axis=1)) - 1e-9 * np.abs(sums).sum(axis=1)  # sums in another order are equal
    rng, beyond = np.random.default_rng(seed), np.zeros(len(rows), dtype=np.int64)
    block = max(1, _MAX_WEIGHTS // len(names))
    for start in range(0, permutations, block):
        signs = 2.0 * rng.integers(0, 2, size=(min(block, permutations - start), len(names))) - 1.0
        beyond += (np.abs(signs @ sums.T) >= observed).sum(axis=0)
    return (1 + beyond) / (1 + permutations)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values [n] adjusted for n tests, so that the chance of any false finding among them stays below the level of
    one (Holm, 1979), whatever the tests depend on.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def cluster_weights(clusters: ArrayLike, resampling: Resampling) -> Iterator[np.ndarray]:
    """How often each sample [n] is drawn when whole clusters are drawn with replacement.

    Yields int64 blocks [some resamples, n], of all resamples together; equal arguments give equal blocks.
    """
    names, member_of = np.unique(np.asarray(clusters), return_inverse=True)
    rng = np.random.default_rng(resampling.seed)
    rows = max(1, _MAX_WEIGHTS // len(member_of))
    for start in range(0, resampling.number, rows):
        count = min(rows, resampling.number - start)
        drawn = rng.integers(0, len(names), size=(count, len(names)))
        drawn += np.arange(count)[:, None] * len(names)  # so that one bincount serves all resamples
        times = np.bincount(drawn.ravel(), minlength=count * len(names)).reshape(count, len(names))
        yield times[:, member_of]


def percentile_interval(value: float, resampled: np.ndarray) -> Interval:
    """The central 95 % of the resampled values, around the estimate from all samples."""
    low, high = np.quantile(resampled, _ENDS)
    return Interval(float(value), float(low), float(high))


def clopper_pearson(misses: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact two-sided binomial interval of a rate (Clopper and Pearson, 1934): `misses` of `n` trials."""
    if not 0 <= misses <= n or n == 0:
        raise AdaMolmoError(f"{misses} misses of {n} trials is not a rate; expected 0 <= misses <= trials, trials > 0.")
    tail = (1 - confidence) / 2
    low = betaincinv(misses, n - misses + 1, tail) if misses else 0.0
    high = betaincinv(misses + 1, n - misses, 1 - tail) if misses < n else 1.0
    return Interval(misses / n, float(low), float(high))


def _plain(statistic: Statistic, values: np.ndarray) -> float:
    return float(statistic(values, np.ones((1, len(values)), dtype=np.int64))[0])


def _checked(values: ArrayLike, name: str, clusters: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise AdaMolmoError(f"'{name}' of a bootstrap must be a list of finite numbers with at least one entry.")
    if len(clusters) != len(values):
        raise AdaMolmoError(f"'{name}' has {len(values)} entries and 'clusters' {len(clusters)}; expected as many.")
    return values


def conformal_quantile(values: np.ndarray, share: float, alike: int = 1) -> float:
    """A quantile that the next value of the same kind is within with probability >= `share` (Vovk et al., 2005), as far
    as the number of values allows: the ceil((n + 1) * share)-th smallest of n, at most the largest.

    Args:
        alike: values that stand for one observation each, so that there are n * alike.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    rank = math.ceil((len(ordered) // alike + 1) * share) * alike
    return float(ordered[min(rank, len(ordered)) - 1])
