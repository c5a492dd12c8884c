"""Frontier and hypervolume against their definitions, written out."""

import numpy as np
import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.statistics.intervals import Resampling, clustered_bootstrap, mean, percentile_interval
from adamolmo.statistics.pareto import frontier, hypervolume, resampled_hypervolume

# Three steps below a reference of (10 ms, accuracy 0): 2 x 0.2 + 3 x 0.5 + 3 x 0.6; (5, 0.4) is beaten.
LATENCY, ACCURACY, AREA = [4.0, 2.0, 7.0, 5.0], [0.5, 0.2, 0.6, 0.4], 0.4 + 1.5 + 1.8


def _random_points(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 15, size=n).astype(float), rng.integers(0, 10, size=n) / 10  # with many ties


def test_frontier_of_a_small_example():
    assert frontier(LATENCY, ACCURACY).tolist() == [1, 0, 2]


@pytest.mark.parametrize("seed", range(10))
def test_frontier_is_the_set_of_points_that_no_point_dominates(seed):
    latency, accuracy = _random_points(seed)
    points = list(zip(latency, accuracy, strict=True))
    expected = {(x, y) for x, y in points if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points)}
    indices = frontier(latency, accuracy)
    assert {points[i] for i in indices} == expected
    assert len(indices) == len(expected)
    assert (np.diff(latency[indices]) > 0).all()
    assert (np.diff(accuracy[indices]) > 0).all()
    assert all(points.index(points[i]) == i for i in indices)  # of equal points the first


def test_hypervolume_of_a_small_example():
    assert hypervolume(LATENCY, ACCURACY, 10.0) == pytest.approx(AREA)
    assert hypervolume(LATENCY, ACCURACY, 10.0, reference_accuracy=0.3) == pytest.approx(3 * 0.2 + 3 * 0.3)
    assert hypervolume(LATENCY, ACCURACY, 6.0) == pytest.approx(0.4 + 2 * 0.5)
    assert hypervolume(LATENCY, ACCURACY, 1.0) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_the_counted_area(seed):
    latency, accuracy = _random_points(seed)
    ms, level = np.meshgrid(np.arange(0, 12, 0.25) + 0.125, np.arange(0.1, 1, 0.01) + 0.005)
    covered = ((latency[:, None, None] <= ms) & (accuracy[:, None, None] >= level)).any(axis=0)
    assert hypervolume(latency, accuracy, 12.0, 0.1) == pytest.approx(covered.sum() * 0.25 * 0.01)


def test_hypervolume_of_many_sets_at_once():
    points = [_random_points(seed) for seed in range(6)]
    latency, accuracy = (np.stack(side).reshape(2, 3, -1) for side in zip(*points, strict=True))
    each = [hypervolume(*pair, 12.0) for pair in points]
    assert hypervolume(latency, accuracy, 12.0).ravel() == pytest.approx(each)


def test_hypervolume_interval_of_one_budget_of_fixed_latency_is_the_accuracy_interval_times_the_time_left():
    rng = np.random.default_rng(0)
    accuracy, images = rng.integers(0, 2, size=300).astype(float), np.repeat(np.arange(100), 3)
    resampled = resampled_hypervolume(
        np.full((1, 300), 4.0), accuracy[None], images, 10.0, resampling=Resampling(500, 3)
    )
    area = percentile_interval(*resampled)
    plain = clustered_bootstrap(accuracy, images, mean, resampling=Resampling(500, 3))
    assert (area.value, area.low, area.high) == pytest.approx((6 * plain.value, 6 * plain.low, 6 * plain.high))


def test_hypervolume_interval_spans_the_estimate_from_all_samples_and_uses_the_mean_latency():
    rng = np.random.default_rng(1)
    latency = np.array([[5.0], [8.0], [11.0]]) * rng.gamma(20, 1 / 20, size=(3, 400))
    accuracy = (rng.random((3, 400)) < np.array([[0.4], [0.6], [0.7]])).astype(float)
    area = percentile_interval(*resampled_hypervolume(latency, accuracy, range(400), 14.0))
    assert area.value == pytest.approx(hypervolume(latency.mean(axis=1), accuracy.mean(axis=1), 14.0))
    assert area.low < area.value < area.high


def test_bad_points_are_refused():
    with pytest.raises(AdaMolmoError, match="one accuracy for each latency"):
        frontier([1.0, 2.0], [0.5])
    with pytest.raises(AdaMolmoError, match="at least one"):
        hypervolume([], [], 1.0)
    with pytest.raises(AdaMolmoError, match="not a finite number"):
        frontier([1.0, float("nan")], [0.5, 0.5])
    with pytest.raises(AdaMolmoError, match="for 3 samples"):
        resampled_hypervolume(np.ones((2, 4)), np.ones((2, 4)), [0, 1, 2], 2.0)
