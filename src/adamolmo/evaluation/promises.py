"""Whether the promises of budgets were kept, by every controller that heeds budgets: what was promised, what was found.

Counted over the requests as they were, on the device as it was: a governor answers for both.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from adamolmo.budgets import ALLOWED_LATE, PER_REQUEST, kind_of
from adamolmo.controllers.roles import ORACLE, heeds_budget
from adamolmo.evaluation.outcomes import Outcomes, scopes
from adamolmo.files.comparisons import PROMISES
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling, clopper_pearson, clustered_bootstrap

MEAN_PROMISED = 1.0  # of the budget


def promises(datasets: Sequence[Outcomes], resampling: Resampling) -> pd.DataFrame:
    """The rows of the table `promises`; none for a study whose budgets promise nothing."""
    rows = []
    for dataset, budget, clusters, values in scopes(datasets, _lateness_and_share):
        kind = kind_of(budget)
        if kind == PER_REQUEST:
            continue
        for controller, late, share in zip(datasets[0].controllers, *values, strict=True):
            if controller == ORACLE or not heeds_budget(controller):
                continue
            if kind == "mean":
                promised, found = MEAN_PROMISED, clustered_bootstrap(share, clusters, resampling=resampling)
            else:
                promised, found = ALLOWED_LATE[kind], _late_share(late, clusters, budget == kind, resampling)
            rows.append([dataset, controller, budget, promised, *vars(found).values(), found.low > promised])
    return pd.DataFrame(rows, columns=list(PROMISES.columns))


def _late_share(late: np.ndarray, clusters: np.ndarray, pooled: bool, resampling: Resampling) -> Interval:
    """Of requests that were late or not, or of questions that several budgets were late on: [n]."""
    if pooled and late.any():
        return clustered_bootstrap(late, clusters, resampling=resampling)
    return clopper_pearson(int(late.sum()), len(late))


def _lateness_and_share(outcomes: Outcomes) -> np.ndarray:
    """Whether late, and latency in shares of the budget: [2, controllers, budgets, n]."""
    return np.stack([outcomes.late, outcomes.latency_ms / outcomes.budget_ms[:, None]])
