"""A machine whose speed changes, questions that it is asked, and four ways to choose: what governors are tried on."""

from collections.abc import Callable, Mapping

import numpy as np

from adamolmo.controllers.governor import Governor
from adamolmo.controllers.response import Response, limits, prices, spent
from adamolmo.files.governor import Spent
from adamolmo.inference.controller import Limit

FULL_MS = 100.0
NOISE = 0.04  # of a single request, which the profile's latencies are without
# Mean latency of the configurations, cheapest first, and how much more the dearer ones know.
MEANS_MS = FULL_MS * np.geomspace(0.2, 1.0, 25)
_RNG = np.random.default_rng(0)
_EASE, _SIZE = _RNG.normal(0, 1.5, (3000, 1)), np.exp(_RNG.normal(0, 0.08, (3000, 1)))
PROBABILITY = 1 / (1 + np.exp(-(_EASE + 3 * np.log(MEANS_MS / 45) + _RNG.normal(0, 0.7, (3000, 25)))))
LATENCY_MS = MEANS_MS * _SIZE * np.exp(_RNG.normal(0, 0.03, (3000, 25)))  # [questions, configurations]
PROFILED, ASKED = slice(0, 600), slice(600, None)

SPEEDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "quiet": lambda n, rng: np.ones(n),
    "stepping": lambda n, rng: np.where((np.arange(n) > n // 3) & (np.arange(n) < 2 * n // 3), 1.5, 1.0),
    "wandering": lambda n, rng: np.exp(np.clip(np.cumsum(rng.normal(0, 0.02, n)), -0.1, 0.7)),
    "waving": lambda n, rng: 1.3 + 0.3 * np.sin(np.arange(n) / 40),
    "slowing": lambda n, rng: np.linspace(1.0, 1.6, n),
}

Choose = Callable[[Limit, int], int]  # limit and question -> configuration


def by_table(limit: Limit, question: int) -> int:
    within = np.flatnonzero(limit.budget_ms >= MEANS_MS)  # each knows more than the one before
    return int(within[-1]) if len(within) else 0


def by_prediction(limit: Limit, question: int) -> int:
    """Knows how likely each configuration is right; takes no price."""
    expected_ms = MEANS_MS * _SIZE[question]
    within = expected_ms <= limit.budget_ms
    return int(np.where(within, PROBABILITY[question], -1).argmax()) if within.any() else 0


def by_price(limit: Limit, question: int) -> int:
    """The same, and takes a price."""
    expected_ms = MEANS_MS * _SIZE[question]
    value = PROBABILITY[question] - limit.price_per_ms * expected_ms
    within = expected_ms <= limit.budget_ms
    return int(np.where(within, value, -np.inf).argmax()) if within.any() else 0


def by_policy(limit: Limit, question: int) -> int:
    """Was rewarded for right answers and punished for lateness, so it aims at the budget and may exceed it."""
    excess = np.maximum(MEANS_MS * _SIZE[question] / limit.budget_ms - 1, 0)
    return int((PROBABILITY[question] - 30 * excess**2).argmax())


CHOOSERS: Mapping[str, Choose] = {
    "table": by_table,
    "predictor": by_prediction,
    "price taker": by_price,
    "policy": by_policy,
}


def response_of(name: str) -> Response:
    """What was spent on the profiled questions."""
    choose, questions = CHOOSERS[name], np.arange(3000)[PROFILED]

    def spent_under(limit: Limit) -> Spent:
        return spent(np.array([LATENCY_MS[question, choose(limit, question)] for question in questions]), NOISE)

    priced = prices(MEANS_MS[-1], 40) if name == "price taker" else np.empty(0)
    return Response.of(spent_under, limits(MEANS_MS[0], MEANS_MS[-1], 32), priced)


def run_stream(
    governor: Governor, name: str, speed: str, num_requests: int, seed: int, *, paced: bool = True
) -> np.ndarray:
    """Latency in ms of a stream of requests, with noise of 4 % and one request in a hundred 1.3 times as slow.

    Args:
        paced: whether the governor is told what to expect of each request.
    """
    rng = np.random.default_rng(seed)
    pace, questions = SPEEDS[speed](num_requests, rng), rng.permutation(np.arange(3000)[ASKED])[:num_requests]
    latency_ms = np.empty(num_requests)
    for place, question in enumerate(questions):
        config = CHOOSERS[name](governor.limit, question)
        hiccup = 1.3 if rng.random() < 0.01 else 1.0
        latency_ms[place] = LATENCY_MS[question, config] * pace[place] * np.exp(rng.normal(0, NOISE)) * hiccup
        governor.observe(latency_ms[place], MEANS_MS[config] * _SIZE[question, 0] if paced else None)
    return latency_ms
