"""Controllers side by side: paired differences to a baseline, regret against the oracle, hypervolume.

All controllers answer the same questions, so differences are taken per question and resampled by image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.errors import AdaMolmoError
from adamolmo.pareto import hypervolume_interval
from adamolmo.statistics import Interval, clopper_pearson, clustered_bootstrap, paired_bootstrap

if TYPE_CHECKING:
    from pandas import DataFrame

POOLED = "all"


@dataclass(frozen=True)
class Cells:
    """The answered requests of all cells.

    Attributes:
        tables: rows of `schema.EVALUATION` by (dataset, controller, budget).
        budgets_ms: by (dataset, budget).
    """

    tables: Mapping[tuple[str, str, str], DataFrame]
    budgets_ms: Mapping[tuple[str, str], float]

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(dataset for dataset, _, _ in self.tables))

    @property
    def controllers(self) -> list[str]:
        return list(dict.fromkeys(controller for _, controller, _ in self.tables))

    @property
    def budgets(self) -> list[str]:
        return list(dict.fromkeys(budget for _, _, budget in self.tables))

    def scopes(self) -> dict[str, list[str]]:
        """Every dataset alone, and all of them together."""
        datasets = self.datasets
        return {**{dataset: [dataset] for dataset in datasets}, **({POOLED: datasets} if len(datasets) > 1 else {})}

    def requests(self, datasets: Sequence[str], controller: str, budget: str) -> DataFrame:
        """Sorted by question, with the columns `question`, `image` (unique over datasets) and `late`."""
        from pandas import concat

        parts = []
        for dataset in datasets:
            table = self.tables[dataset, controller, budget]
            names = {"question": f"{dataset}/" + table["sample_id"], "image": f"{dataset}/" + table["image_id"]}
            parts.append(table.assign(**names, late=table["latency_ms"] > self.budgets_ms[dataset, budget]))
        return concat(parts).sort_values("question", ignore_index=True)


def compare(cells: Cells, baseline: str, resamples: int, seed: int) -> DataFrame:
    """One row of `schema.COMPARISON` per scope, controller and budget.

    Raises AdaMolmoError when a controller answered other questions than the baseline.
    """
    from pandas import DataFrame

    rows = []
    for scope, datasets in cells.scopes().items():
        for budget in cells.budgets:
            base = cells.requests(datasets, baseline, budget)
            for controller in cells.controllers:
                own = cells.requests(datasets, controller, budget)
                check_same_questions(own, base, f"{controller} at {budget} on {scope}", baseline)
                late = clopper_pearson(int(own["late"].sum()), len(own))
                accuracy = clustered_bootstrap(own["accuracy"], own["image"], resamples=resamples, seed=seed)
                difference = paired_bootstrap(
                    own["accuracy"], base["accuracy"], base["image"], resamples=resamples, seed=seed
                )
                rows.append(
                    {
                        "dataset": scope,
                        "controller": controller,
                        "budget": budget,
                        "baseline": baseline,
                        "num_samples": len(own),
                        **_ends("accuracy", accuracy),
                        **_ends("accuracy_difference", difference),
                        **_ends("violation_rate", late),
                        "violation_difference": late.value - float(base["late"].mean()),
                        "latency_ms": float(own["latency_ms"].mean()),
                        "controller_ms": float(own["controller_ms"].mean()),
                        "controller_share_pct": float(100 * own["controller_ms"].sum() / own["latency_ms"].sum()),
                    }
                )
    return DataFrame(rows)


def check_same_questions(own: DataFrame, other: DataFrame, name: str, other_name: str) -> None:
    if own["question"].tolist() != other["question"].tolist():
        raise AdaMolmoError(
            f"{name} answered {len(own)} questions and {other_name} {len(other)} that are not the same; "
            "expected one evaluation split for all controllers."
        )


def regret(cells: Cells, oracle: str, confirmed: Mapping[tuple[str, str], DataFrame], resamples: int, seed: int):
    """One row of `schema.REGRET` per scope, controller and budget: how much accuracy is missing to the oracle.

    Args:
        confirmed: `oracle.confirmed_accuracy` by (dataset, budget): columns sample_id, accuracy.
    """
    from pandas import DataFrame, concat

    rows = []
    for scope, datasets in cells.scopes().items():
        for budget in cells.budgets:
            best = cells.requests(datasets, oracle, budget)
            parts = [confirmed[d, budget].assign(question=lambda t, d=d: f"{d}/" + t["sample_id"]) for d in datasets]
            lower = concat(parts).sort_values("question", ignore_index=True)
            for controller in (name for name in cells.controllers if name != oracle):
                own = cells.requests(datasets, controller, budget)
                check_same_questions(own, best, f"{controller} at {budget} on {scope}", oracle)
                check_same_questions(own, lower, f"{controller} at {budget} on {scope}", "the confirmed oracle")
                bounds = {"regret": best["accuracy"], "regret_confirmed": lower["accuracy"]}
                rows.append(
                    {
                        "dataset": scope,
                        "controller": controller,
                        "budget": budget,
                        **{
                            key: value
                            for name, bound in bounds.items()
                            for key, value in _ends(
                                name,
                                paired_bootstrap(bound, own["accuracy"], own["image"], resamples=resamples, seed=seed),
                            ).items()
                        },
                    }
                )
    return DataFrame(rows)


def hypervolumes(cells: Cells, resamples: int, seed: int) -> DataFrame:
    """One row of `schema.HYPERVOLUME` per dataset and controller, as a share of the area up to the largest budget."""
    from pandas import DataFrame

    rows = []
    for dataset in cells.datasets:
        widest_ms = max(cells.budgets_ms[dataset, budget] for budget in cells.budgets)
        for controller in cells.controllers:
            requests = [cells.requests([dataset], controller, budget) for budget in cells.budgets]
            latency, accuracy = (np.stack([r[column] for r in requests]) for column in ("latency_ms", "accuracy"))
            area = hypervolume_interval(
                latency, accuracy, requests[0]["image"], widest_ms, resamples=resamples, seed=seed
            )
            share = Interval(*(end / widest_ms for end in (area.value, area.low, area.high)))
            rows.append({"dataset": dataset, "controller": controller, **_ends("hypervolume", share)})
    return DataFrame(rows)


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
