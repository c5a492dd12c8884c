"""How a controller's latency follows the limit that it is told, on profiled questions: what a governor starts from.

Tables and static configurations are asked what they choose when they are loaded, which takes microseconds, and what
each configuration took is in one small file. Learned controllers read the request: they are asked once, in a job of
its own, about questions that they did not learn from (`training/rehearsal.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri  # scipy.stats takes every job half a second longer to import

from adamolmo.budgets import ALLOWED_LATE
from adamolmo.controllers.base import ControllerContext
from adamolmo.files.documents import read_json
from adamolmo.files.governor import (
    ConfigLatency,
    ControllerResponse,
    DatasetResponse,
    Spent,
    SpentByLimit,
    config_latency_path,
    response_path,
)
from adamolmo.inference.consulting import first_decision, second_decision, what_it_reads
from adamolmo.inference.controller import Controller, Limit, Stage1Inputs
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import conformal_quantile

_QUANTILES = {name: 1 - late for name, late in ALLOWED_LATE.items()}
# Beyond the cheapest and the dearest configuration nothing changes; tables tolerate a little, policies shade off.
_BELOW, _ABOVE = 0.9, 1.25
# A standard normal distribution in equally likely values.
_SCORES = ndtri((np.arange(20) + 0.5) / 20)
# Prices that change a choice: a millisecond is worth from one in a thousand of an answer per full request to thirty.
_PRICES = 1e-3, 30.0


def spent(latency_ms: np.ndarray, scatter: float = 0.0) -> Spent:
    """Mean and quantiles of some requests' latency.

    Args:
        latency_ms: of each request what the profile has for it, [requests].
        scatter: standard deviation of a single request's log latency around that. Without it quantiles would be those
            of medians and estimates, and more requests than promised would be late from the start.
    """
    singles_ms = (latency_ms[:, None] * np.exp(scatter * _SCORES)).ravel()  # [requests * scores]
    quantiles = {name: conformal_quantile(singles_ms, share, alike=len(_SCORES)) for name, share in _QUANTILES.items()}
    return Spent(mean=float(np.mean(latency_ms)), **quantiles)


def limits(lowest_ms: float, highest_ms: float, count: int) -> np.ndarray:
    """Budgets worth asking about, ascending, from the mean latency of the cheapest and the dearest configuration."""
    return np.geomspace(_BELOW * lowest_ms, _ABOVE * highest_ms, count)


def prices(highest_ms: float, count: int) -> np.ndarray:
    """Prices per ms worth asking about, ascending, 0 included."""
    low, high = _PRICES
    return np.concatenate([[0.0], np.geomspace(low, high, count - 1) / highest_ms])


@dataclass(frozen=True)
class Response:
    """Attributes:
    budgets_ms: limits, ascending, [budgets].
    spent_ms: by "mean", "p90", "p95" and "p99" what the requests took under each, [budgets].
    prices_per_ms, spent_at_price_ms: prices, ascending, and the mean latency at each, [prices]; empty for a controller
        that heeds none.
    """

    budgets_ms: np.ndarray
    spent_ms: Mapping[str, np.ndarray]
    prices_per_ms: np.ndarray
    spent_at_price_ms: np.ndarray

    @classmethod
    def of(
        cls,
        spent_under: Callable[[Limit], Spent],
        budgets_ms: np.ndarray,
        prices_per_ms: np.ndarray,
    ) -> Response:
        """Asks what is spent under every limit."""
        under = [spent_under(Limit(float(budget_ms))) for budget_ms in budgets_ms]
        at_price = [spent_under(Limit(price_per_ms=float(price))).mean for price in prices_per_ms]
        by_measure = {name: np.array([getattr(of, name) for of in under]) for name in Spent.model_fields}
        return cls(np.asarray(budgets_ms), by_measure, np.asarray(prices_per_ms), np.array(at_price))

    @property
    def heeds_price(self) -> bool:
        return len(self.prices_per_ms) > 0

    @property
    def budget_range_ms(self) -> tuple[float, float]:
        return float(self.budgets_ms[0]), float(self.budgets_ms[-1])

    @property
    def price_range_ms(self) -> tuple[float, float]:
        """Mean latency at the highest price and at none."""
        return float(self.spent_at_price_ms.min()), float(self.spent_at_price_ms.max())

    def budget_that_spends(self, latency_ms: float, measure: str) -> float:
        """The highest budget up to which the measure of the latency is at most `latency_ms`; if none, the lowest."""
        kept = np.maximum.accumulate(self.spent_ms[measure]) <= latency_ms
        return float(self.budgets_ms[max(int(kept.sum()) - 1, 0)])

    def price_per_ms(self, mean_ms: float) -> float:
        """At which the requests would have taken `mean_ms` on average."""
        falling = np.minimum.accumulate(self.spent_at_price_ms)
        return float(np.interp(mean_ms, falling[::-1], self.prices_per_ms[::-1]))

    def to_document(self) -> DatasetResponse:
        return DatasetResponse(
            budgets_ms=tuple(self.budgets_ms.tolist()),
            spent_ms=SpentByLimit(**{name: tuple(values.tolist()) for name, values in self.spent_ms.items()}),
            prices_per_ms=tuple(self.prices_per_ms.tolist()),
            spent_at_price_ms=tuple(self.spent_at_price_ms.tolist()),
        )

    @classmethod
    def from_document(cls, of: DatasetResponse) -> Response:
        spent_ms = {name: np.array(values) for name, values in of.spent_ms}
        return cls(np.array(of.budgets_ms), spent_ms, np.array(of.prices_per_ms), np.array(of.spent_at_price_ms))


def load_response(controller: Controller, context: ControllerContext) -> Response:
    """Of a controller loaded from the context; one that was not rehearsed on the context's dataset, because it is no
    learned one or learned from other datasets, is taken for a table.

    Raises AdaMolmoError when a file that says it is unusable.
    """
    path = context.results / response_path(controller.name)
    rehearsed = read_json(path, ControllerResponse).datasets if path.is_file() else {}
    if context.dataset in rehearsed:
        return Response.from_document(rehearsed[context.dataset])
    path = context.results / config_latency_path(context.dataset)
    by_config = {KnobConfig.parse(name): of for name, of in read_json(path, ConfigLatency).configurations.items()}
    return _response_of_table(controller, by_config)


def _response_of_table(controller: Controller, by_config: Mapping[KnobConfig, Spent]) -> Response:
    """Of what chooses by the limit alone. One that reads the request as well, or decides twice, is taken for a table
    that always takes the dearest configuration within the limit, and a configuration that was not profiled for the
    dearest: a first guess, which its governor will correct."""
    means_ms = {config: of.mean for config, of in by_config.items()}
    lowest_ms, highest_ms = min(means_ms.values()), max(means_ms.values())

    dearest, cheapest = (of(means_ms, key=means_ms.__getitem__) for of in (max, min))

    def spent_under(limit: Limit) -> Spent:
        decision = None if what_it_reads(controller, limit) else first_decision(controller, Stage1Inputs(limit))
        if decision is None or decision.decoder is None:
            within = [config for config, ms in means_ms.items() if ms <= limit.budget_ms]
            return by_config[max(within, key=means_ms.__getitem__, default=cheapest)]
        config = KnobConfig(decision.tier, *second_decision(controller, limit.budget_ms, decision, None))
        return by_config.get(config, by_config[dearest])

    priced = controller.heeds_price and not what_it_reads(controller, Limit(highest_ms))
    return Response.of(
        spent_under, limits(lowest_ms, highest_ms, 200), prices(highest_ms, 100) if priced else np.empty(0)
    )
