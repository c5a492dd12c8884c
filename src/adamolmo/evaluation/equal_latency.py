"""What choosing per request gains at equal mean latency: every controller against the best mixture of static ones.

Any mean latency between two static configurations can be had without a controller: by tossing a coin between them. So
the strongest baseline that knows nothing of a request lies on the concave hull of the static configurations, and a
controller that is above it has used what it read. Which configurations lie on the hull is read off the profile, as a
table would; what they reach is counted on the evaluation questions, the controller's own.

Latencies of both sides are those of the evaluation grid (`core_exp.merge.merge_estimated`), so that a machine which was
slower during one cell favours nobody; what deciding costs a controller is added to its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.outcomes import Outcomes, scopes
from adamolmo.files.comparisons import EQUAL_LATENCY
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import Resampling, mean_intervals, sign_flip_test


@dataclass(frozen=True)
class Static:
    """The static configurations on one dataset.

    Attributes:
        places: of the configurations on the profile's hull, the fastest first.
        grid: what every configuration reaches on the evaluation questions.
    """

    places: np.ndarray
    grid: GridOutcomes

    @classmethod
    def of(cls, profile: GridOutcomes, grid: GridOutcomes) -> "Static":
        return cls(concave_hull(profile.latency_ms.mean(axis=0), profile.accuracy.mean(axis=0)), grid)

    @property
    def frontier(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean latency and accuracy of the hull's configurations on the evaluation questions, by rising latency: all
        mixtures of two neighbours lie on the lines between them."""
        latency_ms, accuracy = self.grid.latency_ms.mean(axis=0), self.grid.accuracy.mean(axis=0)
        order = self._order(latency_ms)
        return latency_ms[order], accuracy[order]

    def mixture(self, mean_ms: float) -> tuple[np.ndarray, float]:
        """Of two neighbours on the hull with this mean latency on the evaluation questions; beyond its ends, the end.

        Returns:
            The weight of every configuration, [configurations], and what a further ms would bring (accuracy per ms).
        """
        latency_ms, accuracy = self.grid.latency_ms.mean(axis=0), self.grid.accuracy.mean(axis=0)
        order = self._order(latency_ms)
        weights = np.zeros(len(latency_ms))
        above = int(np.searchsorted(latency_ms[order], mean_ms))
        if above in (0, len(order)):
            weights[order[min(above, len(order) - 1)]] = 1.0
            return weights, 0.0
        low, high = order[above - 1], order[above]
        share = (mean_ms - latency_ms[low]) / (latency_ms[high] - latency_ms[low])
        weights[[low, high]] = 1 - share, share
        return weights, (accuracy[high] - accuracy[low]) / (latency_ms[high] - latency_ms[low])

    def _order(self, latency_ms: np.ndarray) -> np.ndarray:
        return self.places[np.argsort(latency_ms[self.places], kind="stable")]


def concave_hull(latency_ms: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Places of the points [n] whose mixtures of two neighbours no other mixture beats, by rising latency: from the
    fastest point (of equally fast ones the most accurate) to the most accurate one (of equals the fastest)."""
    order = np.lexsort((-accuracy, latency_ms))
    hull: list[int] = []
    for place in order:
        if hull and accuracy[place] <= accuracy[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1], latency_ms, accuracy) <= _slope(
            hull[-2], place, latency_ms, accuracy
        ):
            hull.pop()
        hull.append(int(place))
    return np.array(hull)


def _slope(a: int, b: int, latency_ms: np.ndarray, accuracy: np.ndarray) -> float:
    return (accuracy[b] - accuracy[a]) / (latency_ms[b] - latency_ms[a])


def equal_latency(
    datasets: Sequence[Outcomes],
    statics: Mapping[str, Static],
    configs: Sequence[KnobConfig],
    overheads_ms: Mapping[str, Sequence[float]],
    resampling: Resampling,
) -> pd.DataFrame:
    """The rows of the table `equal_latency`.

    Args:
        statics: by dataset; their grid has the samples of the outcomes and these `configs`, in this order.
        overheads_ms: by controller, what its network adds to a request in each of `configs`; of others what they took
            in their cells counts.
    """
    values = {part.dataset: _values(part, statics[part.dataset], configs, overheads_ms) for part in datasets}
    tables = []
    for dataset, budget, clusters, (latency_ms, mixture, gain) in scopes(datasets, lambda part: values[part.dataset]):
        value, low, high = mean_intervals(gain, clusters, resampling)
        columns = {
            "controller": datasets[0].controllers,
            "latency_ms": latency_ms.mean(axis=1),
            "mixture_accuracy": mixture.mean(axis=1),
            "gain": value,
            "gain_low": low,
            "gain_high": high,
            "gain_p": sign_flip_test(gain, clusters, seed=resampling.seed),
        }
        tables.append(pd.DataFrame(columns).assign(dataset=dataset, budget=budget))
    return pd.concat(tables, ignore_index=True)[list(EQUAL_LATENCY.columns)]


def _values(
    outcomes: Outcomes, static: Static, configs: Sequence[KnobConfig], overheads_ms: Mapping[str, Sequence[float]]
) -> np.ndarray:
    """Latency, the mixture's accuracy and the gain on every question, [3, controllers, budgets, n].

    The mixture's latency equals the controller's on these questions, on others of the kind only about; what a question
    takes more or less than its mixture is therefore worth the slope of the hull, which adds up to nothing here and
    makes the spread of the gains that of the whole comparison (delta method).
    """
    place = {str(config): index for index, config in enumerate(configs)}
    rows = np.arange(len(outcomes.sample_ids))
    values = np.empty((3, *outcomes.accuracy.shape))
    for c, controller in enumerate(outcomes.controllers):
        for b in range(len(outcomes.budgets)):
            chosen = [place[config] for config in outcomes.configs[c, b]]
            network_ms = np.array(overheads_ms[controller])[chosen] if controller in overheads_ms else None
            own_ms = _deciding_ms(outcomes, c, b, network_ms)
            latency_ms = static.grid.latency_ms[rows, chosen] + own_ms  # [n]
            weights, slope = static.mixture(latency_ms.mean())
            mixture = static.grid.accuracy @ weights  # [n]
            excess_ms = latency_ms - static.grid.latency_ms @ weights  # [n]
            excess_ms -= excess_ms.mean()  # beyond the ends of the hull the means differ, and that is no gain or loss
            values[:, c, b] = latency_ms, mixture, outcomes.accuracy[c, b] - mixture - slope * excess_ms
    return values


def _deciding_ms(outcomes: Outcomes, controller: int, budget: int, network_ms: np.ndarray | None) -> np.ndarray:
    """What deciding adds to each request, [n]: `network_ms` where a network decided, because that also takes what is
    lost in vision and prefill; otherwise the mean of what was measured."""
    measured_ms, network = outcomes.controller_ms[controller, budget], outcomes.network_decided[controller, budget]
    if network_ms is None:
        return np.full(len(network), measured_ms.mean())
    if network.all():
        return network_ms
    return np.where(network, network_ms, measured_ms[~network].mean())
