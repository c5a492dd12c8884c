"""The upper bound that regret is measured against: per question the best configuration that meets the budget.

It is chosen in hindsight from what every configuration answered there (`grid.py`). Among dozens of configurations some
give the right answer by luck, and hindsight finds them, so no controller can reach this bound (Smith and Winkler, 2006,
call it the optimizer's curse). Answers are deterministic, so repeating runs would not average the luck out. What can be
asked is whether a choice is confirmed by configurations that did not take part in it: `confirmed_accuracy` chooses
among one random half of the grid and scores the nearest configuration of the other half. Luck of a single configuration
does not carry over to its neighbours, a real advantage does, but a real advantage that only one configuration has is
lost too. The two numbers therefore enclose what a perfect controller could reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pandas import DataFrame

from adamolmo.budgets import Promise
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.files.columns import KNOBS
from adamolmo.files.evaluation import EVALUATION
from adamolmo.knobs import KnobConfig

HALVES = 20


def best_in_hindsight(
    outcomes: GridOutcomes, budget_ms: float, promise: Promise | None = None, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Per sample the index of the configuration that an oracle takes under a budget: [samples].

    It is the one with the highest accuracy within the budget, on a tie the fastest; the fastest of all where none is
    within it. A promise that few requests are late is kept by being late in none. A promised mean is spent where it
    brings most: see `best_on_average`.

    Args:
        allowed: configurations that may be chosen, bool [configurations]; None for all.
    """
    latency_ms = outcomes.latency_ms if allowed is None else np.where(allowed, outcomes.latency_ms, np.inf)
    if promise == "mean":
        return best_on_average(outcomes.accuracy, latency_ms, budget_ms)
    accuracy = np.where(latency_ms <= budget_ms, outcomes.accuracy, -1.0)
    return _fastest_of_best(accuracy, latency_ms)


def best_on_average(accuracy: np.ndarray, latency_ms: np.ndarray, mean_ms: float) -> np.ndarray:
    """Per sample the index of the configuration, so that the mean latency is within `mean_ms` and the mean accuracy as
    high as one price per ms for all samples makes it; the fastest of all where even those take longer: [samples].

    The price is found by bisection. What is then left of the time is spent on samples for which the next lower price
    chooses a dearer configuration, in their order: without it, samples that are all alike would all do without.

    Args:
        accuracy, latency_ms: [samples, configurations]; infinity for what may not be chosen.
    """
    rows, allowed = np.arange(len(accuracy)), np.isfinite(latency_ms)
    cost_ms = np.where(allowed, latency_ms, 0.0)

    def chosen(price_per_ms: float) -> np.ndarray:
        value = np.where(allowed, accuracy - price_per_ms * cost_ms, -np.inf)
        return _fastest_of_best(value, latency_ms)

    def total_ms(choice: np.ndarray) -> float:
        return latency_ms[rows, choice].sum()

    limit_ms, free = mean_ms * len(rows), chosen(0.0)
    if total_ms(free) <= limit_ms:
        return free
    low, high = 0.0, 1e6 / mean_ms  # at the higher price nothing but the fastest is chosen
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (low, middle) if total_ms(chosen(middle)) <= limit_ms else (middle, high)
    dear, choice = chosen(low), chosen(high)
    left_ms = limit_ms - total_ms(choice)
    for row in rows[dear != choice]:
        more_ms = latency_ms[row, dear[row]] - latency_ms[row, choice[row]]
        if 0 < more_ms <= left_ms:
            choice[row], left_ms = dear[row], left_ms - more_ms
    return choice


def _fastest_of_best(value: np.ndarray, latency_ms: np.ndarray) -> np.ndarray:
    """[samples, configurations] each -> [samples]"""
    best = value == value.max(axis=1, keepdims=True)
    return np.where(best, latency_ms, np.inf).argmin(axis=1)


def confirmed_accuracy(
    outcomes: GridOutcomes,
    configs: Sequence[KnobConfig],
    budget_ms: float,
    seed: int,
    promise: Promise | None = None,
) -> np.ndarray:
    """Per sample the mean accuracy of the configurations nearest to the best one of the other half, over HALVES random
    splits of the grid into halves, each used both ways: [samples]. They are within the budget as well; under a
    promised mean no single one has to be, and the nearest are as often a little dearer as cheaper."""
    distance = grid_distance(configs)
    within = outcomes.latency_ms <= (np.inf if promise == "mean" else budget_ms)
    rng = np.random.default_rng(seed)
    total = np.zeros(len(outcomes.sample_ids))
    for _ in range(HALVES):
        half = np.zeros(len(configs), dtype=bool)
        half[rng.permutation(len(configs))[: len(configs) // 2]] = True
        for chosen_from in (half, ~half):
            chosen = best_in_hindsight(outcomes, budget_ms, promise, chosen_from)
            candidates = within & ~chosen_from
            none_left = ~candidates.any(axis=1)
            candidates[none_left] = ~chosen_from
            far = np.where(candidates, distance[chosen], np.inf)
            nearest = far == far.min(axis=1, keepdims=True)
            total += (outcomes.accuracy * nearest).sum(axis=1) / nearest.sum(axis=1)
    return total / (2 * HALVES)


def grid_distance(configs: Sequence[KnobConfig]) -> np.ndarray:
    """Steps between configurations, [configurations, configurations]. Another tier is farther away than anything in the
    same tier, because it changes what the model sees."""
    tiers, top_k, blocks = (sorted({getattr(c, knob) for c in configs}) for knob in KNOBS)
    to_another_tier = len(top_k) + len(blocks) - 1
    tier = np.array([tiers.index(c.tier) for c in configs])
    depth = np.array([(top_k.index(c.top_k), blocks.index(c.num_active_blocks)) for c in configs])
    steps = np.abs(depth[:, None] - depth).sum(axis=-1)
    return to_another_tier * (tier[:, None] != tier) + steps


def oracle_table(
    profile: DataFrame, configs: Sequence[KnobConfig], budget_ms: float, promise: Promise | None = None
) -> DataFrame:
    """The rows of `profile` (core_exp of the evaluation split, one dataset) that the oracle chooses, as a table of
    `files.evaluation.EVALUATION`; an oracle takes no time to decide, has no governor (margin and price
    are 0) and no energy."""
    outcomes = GridOutcomes.of(profile, configs)
    chosen = [configs[index] for index in best_in_hindsight(outcomes, budget_ms, promise)]
    wanted = [(s, c.tier, c.top_k, c.num_active_blocks) for s, c in zip(outcomes.sample_ids, chosen, strict=True)]
    rows = profile.astype({"tier": str, "sample_id": str}).set_index(["sample_id", *KNOBS]).loc[wanted].reset_index()
    nothing = dict.fromkeys(("controller_ms", "preprocess_ms", "margin", "price_per_ms"), 0.0)
    rows = rows.assign(**nothing, slowdown=1.0, network_decided=False, energy_j=None)
    rows = rows.assign(request=range(len(rows)), budget_met=rows["latency_ms"] <= budget_ms)
    return rows[[*EVALUATION.columns]]
