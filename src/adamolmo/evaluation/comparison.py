"""Which controller is better, on the same questions: paired differences between every two, hypervolumes, regret.

Data flow: the answers of all cells -> outcomes [controllers, budgets, samples] per dataset -> differences per pair, of
each dataset and of all together. The oracle counts as a controller here; its differences to the others are the regret.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from adamolmo.controllers.roles import ORACLE, baseline_of
from adamolmo.evaluation.outcomes import Outcomes, scopes
from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES, REGRET
from adamolmo.statistics.intervals import Resampling, mean_intervals, percentile_interval, sign_flip_test
from adamolmo.statistics.pareto import resampled_hypervolume

_MEASURES = ("accuracy_gain", "goodput_gain", "violation_change", "latency_change_ms")


def compare(datasets: Sequence[Outcomes], resampling: Resampling) -> pd.DataFrame:
    """The rows of the table `comparisons`: every ordered pair of controllers at every budget and over those of each
    kind, of each dataset and of all questions together.

    A kind's row is the mean over the budgets that are feasible on the question's dataset, or over all of the kind if
    none is. Raises AdaMolmoError when the datasets differ in their controllers or budgets.
    """
    tables = []
    for dataset, budget, clusters, measures in scopes(datasets, _measures):
        tables.append(_pairs(datasets[0].controllers, clusters, measures, resampling))
        tables[-1].insert(0, "dataset", dataset)
        tables[-1].insert(1, "budget", budget)
    return pd.concat(tables, ignore_index=True)[list(COMPARISONS.columns)]


def regret(
    comparisons: pd.DataFrame,
    datasets: Sequence[Outcomes],
    confirmed: Mapping[str, np.ndarray],
    resampling: Resampling,
) -> pd.DataFrame:
    """The rows of the table `regret`: per controller the oracle's gain on it in `comparisons`, and the same for
    `confirmed`, the accuracy [budgets, n] of choices that other configurations confirm, by dataset.
    """
    ends = ("", "_low", "_high")
    names = {f"accuracy_gain{end}": f"regret{end}" for end in ends} | {"other": "controller"}
    of_oracle = comparisons[comparisons["controller"] == ORACLE].drop(columns="controller").rename(columns=names)
    tables = []
    for dataset, budget, clusters, missing in scopes(datasets, lambda part: confirmed[part.dataset] - part.accuracy):
        interval = mean_intervals(missing, clusters, resampling)
        columns = {f"regret_confirmed{end}": value for end, value in zip(ends, interval, strict=True)}
        keys = {"dataset": dataset, "controller": datasets[0].controllers, "budget": budget}
        tables.append(pd.DataFrame(keys | columns))
    return of_oracle.merge(pd.concat(tables), on=list(REGRET.key))[list(REGRET.columns)]


def _measures(outcomes: Outcomes) -> np.ndarray:
    """Accuracy, goodput (right and on time), lateness and latency, [4, controllers, budgets, n]."""
    late, accuracy = outcomes.late, outcomes.accuracy
    return np.stack([accuracy, accuracy * ~late, late, outcomes.latency_ms])


def _pairs(
    controllers: Sequence[str], clusters: np.ndarray, measures: np.ndarray, resampling: Resampling
) -> pd.DataFrame:
    """The differences of every ordered pair, from `measures` [4, controllers, n]."""
    pairs = list(permutations(range(len(controllers)), 2))
    if not pairs:
        return pd.DataFrame(columns=[name for name in COMPARISONS.columns if name not in ("dataset", "budget")])
    left, right = map(list, zip(*pairs, strict=True))
    columns = {}
    for name, values in zip(_MEASURES, measures, strict=True):
        interval = mean_intervals(values[left] - values[right], clusters, resampling)
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
    accuracy_p, goodput_p = (
        sign_flip_test(values[left] - values[right], clusters, seed=resampling.seed) for values in measures[:2]
    )
    return pd.DataFrame(
        {
            "controller": [controllers[i] for i in left],
            "other": [controllers[i] for i in right],
            "accuracy_p": accuracy_p,
            "goodput_p": goodput_p,
            **columns,
        }
    )


def hypervolumes(datasets: Sequence[Outcomes], resampling: Resampling) -> pd.DataFrame:
    """The rows of the table `hypervolumes`; a budget's point is its mean latency and accuracy."""
    rows = []
    for outcomes in datasets:
        reference_ms = float(outcomes.budget_ms.max())
        shares = {}
        for name, latency_ms, accuracy in zip(
            outcomes.controllers, outcomes.latency_ms, outcomes.accuracy, strict=True
        ):
            value, resampled = resampled_hypervolume(
                latency_ms, accuracy, outcomes.clusters, reference_ms, resampling=resampling
            )
            shares[name] = value / reference_ms, resampled / reference_ms
        base, base_resampled = shares[baseline_of(shares)]
        for name, (value, resampled) in shares.items():
            area = percentile_interval(value, resampled)
            gain = percentile_interval(value - base, resampled - base_resampled)
            rows.append([outcomes.dataset, name, reference_ms, *vars(area).values(), *vars(gain).values()])
    return pd.DataFrame(rows, columns=list(HYPERVOLUMES.columns))
