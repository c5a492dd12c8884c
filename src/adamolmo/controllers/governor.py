"""Keeps what a budget promises of a stream of requests, for every controller alike.

A controller is a function of one request. Whether 5 % of the requests are late, or what they take on average, is a
property of the stream: of the questions that come, and of a machine that is not always as fast as it was when it was
profiled. So before each request the governor says what it may cost, and after each it learns from what it took. What is
known after a few requests, the machine's speed, is kept apart from what takes many, how far requests scatter above it:

    effective budget = budget / (slowdown * (1 + margin))
    slowdown:                     latency / what the profile lets expect of it, over the last requests (`slowdown.py`)
    at most a share alpha late:   margin += STEP * (late - alpha)
    mean at most the budget:      margin += STEP * (latency / budget - 1)

The first margin is adaptive conformal inference (Gibbs and Candes, 2021, arXiv 2106.00170): whatever the sequence, the
share of late requests among the first T differs from alpha by exactly (margin after T - margin before) / (STEP * T), as
long as the margin is not clipped. This adds up the updates alone, so it holds for whatever else the limits follow, as
long as that is known before the request: what the slowdown does, right or wrong, can only change how far the margin has
to move. Where it takes the machine's drift upon itself the margin hardly moves, and then the share is close to alpha in
a stream of a hundred requests already (forecasts beside a conformal correction: Angelopoulos et al., 2023, arXiv
2307.16895). The second margin is dual ascent, with the same argument for the mean. For controllers that heed a price
the effective budget is put into the price per ms at which they spent that much on held-out questions.

The steps stay as they are instead of decaying (Angelopoulos et al., 2024, arXiv 2402.01139): a decaying step settles
down on a machine that does not drift, and is late on one that does. A request that is late moves the margin by about
STEP whatever alpha is, one that is not by STEP * alpha back: so rare lateness is forgotten slowly, as it must be.
"""

from __future__ import annotations

from collections.abc import Callable

from adamolmo.budgets import ALLOWED_LATE, Budget, Promise
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.response import Response, load_response
from adamolmo.controllers.slowdown import follow
from adamolmo.controllers.table import EXPECTED_LATENCY, table_path
from adamolmo.core_exp import expected_latency
from adamolmo.files.governor import GovernorState
from adamolmo.inference.controller import Controller, Limit
from adamolmo.knobs import KnobConfig

# Configuration, crops and prompt tokens -> ms; None for a configuration that was not profiled.
ExpectedMs = Callable[[KnobConfig, int, int], float | None]

TOLD_DIGITS = 3  # of effective budgets: policies encode each budget that they are told once and keep it
STEP = {"p90": 0.1, "p95": 0.1, "p99": 0.1, "mean": 0.05}


class Governor:
    """The budget of ONE stream of requests; without a promise every request is given the budget as it is.

    Args:
        response: what the controller's requests took on profiled questions; where there is a promise.
        expected_ms: what the profile lets expect of a request in a configuration; None where the device is always as
            fast as in the profile, and for budgets without a promise.
        state: of an earlier part of the same stream; without it the margin with which the controller would have kept
            the promise on these questions.

    Attributes:
        start: the state before the first of the requests that it was made for.
    """

    def __init__(
        self,
        budget_ms: float,
        promise: Promise | None = None,
        response: Response | None = None,
        expected_ms: ExpectedMs | None = None,
        state: GovernorState | None = None,
    ):
        self.budget_ms = budget_ms
        self.promise = promise
        self.expected_ms = expected_ms
        self._response = response
        self.state = state or GovernorState(requests=0, margin=self._first_margin(), slowdown=1.0)
        self.start = self.state

    def begin_at(self, slowdown: float) -> None:
        """Before the first request: the device takes `slowdown` times as long as it did when it was profiled."""
        if self.expected_ms is not None and self.state.requests == 0:
            self.state = self.start = self.state.model_copy(update={"slowdown": slowdown})

    @property
    def limit(self) -> Limit:
        """What the next request may cost."""
        if self.promise is None:
            return Limit(self.budget_ms)
        effective_ms = self.budget_ms / (self.state.slowdown * (1 + self.state.margin))
        effective_ms = float(f"{effective_ms:.{TOLD_DIGITS}g}")
        if self._by_price:
            return Limit(price_per_ms=self._response.price_per_ms(effective_ms))
        return Limit(effective_ms)

    def observe(self, latency_ms: float, expected_ms: float | None = None) -> None:
        """Learns from the request that was given `limit`.

        Args:
            expected_ms: by `expected_ms`, what deciding took included; None leaves the slowdown as it is.
        """
        requests, margin, slowdown = self.state.requests, self.state.margin, self.state.slowdown
        if self.promise is not None:
            margin = self._moved(margin, STEP[self.promise] * self._excess(latency_ms))
        if expected_ms is not None:
            slowdown = follow(slowdown, requests, latency_ms, expected_ms)
        self.state = GovernorState(requests=requests + 1, margin=margin, slowdown=slowdown)

    @property
    def _by_price(self) -> bool:
        return self.promise == "mean" and self._response.heeds_price

    def _excess(self, latency_ms: float) -> float:
        if self.promise == "mean":
            return latency_ms / self.budget_ms - 1
        return (latency_ms > self.budget_ms) - ALLOWED_LATE[self.promise]

    def _first_margin(self) -> float:
        if self.promise is None or self._by_price:
            return 0.0
        return self.budget_ms / self._response.budget_that_spends(self.budget_ms, self.promise) - 1

    def _moved(self, margin: float, by: float) -> float:
        """Not beyond the margins at which, on a device as fast as now, the controller would choose no otherwise: from
        there it would take long to come back."""
        lowest_ms, highest_ms = self._response.price_range_ms if self._by_price else self._response.budget_range_ms
        told_ms = self.budget_ms / self.state.slowdown  # without a margin
        lowest, highest = min(0.0, told_ms / highest_ms - 1), max(0.0, told_ms / lowest_ms - 1)
        return min(max(margin + by, min(lowest, margin)), max(highest, margin))


def load_governor(
    controller: Controller,
    budget: Budget,
    budget_ms: float,
    context: ControllerContext,
    state: GovernorState | None = None,
) -> Governor:
    """For one stream of requests to the controller that was loaded from `context`.

    Raises AdaMolmoError when there is a promise and the file that its governor starts from is unusable.
    """
    if budget.promise is None:
        return Governor(budget_ms, state=state)
    return Governor(budget_ms, budget.promise, load_response(controller, context), _load_expected(context), state)


def _load_expected(context: ControllerContext) -> ExpectedMs | None:
    """None with the modelled clock, which knows no slower days."""
    grid = context.fingerprint.grid
    if context.fingerprint.clock == "modelled":
        return None
    expected = expected_latency.load(context.results / table_path(EXPECTED_LATENCY, context.dataset), grid)
    places = {config: place for place, config in enumerate(grid.configs)}

    def expected_ms(config: KnobConfig, num_crops: int, input_tokens: int) -> float | None:
        return expected.of_request(places[config], num_crops, input_tokens) if config in places else None

    return expected_ms
