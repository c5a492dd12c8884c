"""Which controller is better, on the same questions: paired differences between every two, hypervolumes, regret.

Data flow: the answers of all cells -> outcomes [controllers, budgets, samples] per dataset -> differences per pair, of
each dataset and of all together. The oracle counts as a controller here; its differences to the others are the regret.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.controllers.roles import ORACLE, baseline_of
from adamolmo.errors import AdaMolmoError
from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES, REGRET
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table
from adamolmo.statistics.intervals import Resampling, mean_intervals, percentile_interval, sign_flip_test
from adamolmo.statistics.pareto import resampled_hypervolume

ALL_BUDGETS = "all"
ALL_DATASETS = "all"
_COLUMNS = ["sample_id", "image_id", "accuracy", "latency_ms"]


@dataclass(frozen=True)
class Outcomes:
    """What all controllers of a study answered on one dataset.

    Attributes:
        budgets: as written, by rising milliseconds, with budget_ms and feasible of each.
        sample_ids, clusters: of each sample its id and its image, [n].
        accuracy, latency_ms: [controllers, budgets, n].
    """

    dataset: str
    controllers: tuple[str, ...]
    budgets: tuple[str, ...]
    budget_ms: np.ndarray
    feasible: np.ndarray
    sample_ids: np.ndarray
    clusters: np.ndarray
    accuracy: np.ndarray
    latency_ms: np.ndarray


def read_outcomes(summary: pd.DataFrame, folder: str | Path) -> Iterator[Outcomes]:
    """Per dataset the answers that `summary` counts, from `folder`/{dataset}/{controller}/{budget}.parquet.

    Raises AdaMolmoError when two cells of a dataset did not answer the same questions.
    """
    for dataset, cells in summary.groupby("dataset", sort=True, observed=True):
        budgets = cells.groupby("budget", observed=True)[["budget_ms", "feasible"]].first()
        budgets = budgets.sort_values(["budget_ms", "budget"])
        controllers = tuple(sorted(cells["controller"].unique()))
        first, grid = None, []
        for controller in controllers:
            for budget in budgets.index:
                path = Path(folder, dataset, controller, f"{budget}.parquet")
                table = read_table(path, EVALUATION, _COLUMNS)[0]
                first = table if first is None else first
                if table["sample_id"].tolist() != first["sample_id"].tolist():
                    raise AdaMolmoError(
                        f"{path}: answers other questions than {controllers[0]} at {budgets.index[0]}; "
                        "a paired comparison needs the same questions in every cell of a dataset."
                    )
                grid.append(table[["accuracy", "latency_ms"]].to_numpy(float).T)
        outcomes = np.stack(grid).reshape(len(controllers), len(budgets), 2, len(first))
        yield Outcomes(
            dataset,
            controllers,
            tuple(budgets.index),
            budgets["budget_ms"].to_numpy(float),
            budgets["feasible"].to_numpy(bool),
            first["sample_id"].to_numpy(),
            first["image_id"].to_numpy(),
            accuracy=outcomes[:, :, 0],
            latency_ms=outcomes[:, :, 1],
        )


def compare(datasets: Sequence[Outcomes], resampling: Resampling) -> pd.DataFrame:
    """The rows of the table `comparisons`: every ordered pair of controllers at every budget and over them all, of each
    dataset and of all questions together.

    Budget 'all' is the mean over the budgets that are feasible on the question's dataset, or over all budgets if none
    is. Raises AdaMolmoError when the datasets differ in their controllers or budgets.
    """
    tables = []
    for dataset, budget, clusters, measures in _scopes(datasets, _measures):
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
    for dataset, budget, clusters, missing in _scopes(datasets, lambda part: confirmed[part.dataset] - part.accuracy):
        interval = mean_intervals(missing, clusters, resampling)
        columns = {f"regret_confirmed{end}": value for end, value in zip(ends, interval, strict=True)}
        keys = {"dataset": dataset, "controller": datasets[0].controllers, "budget": budget}
        tables.append(pd.DataFrame(keys | columns))
    return of_oracle.merge(pd.concat(tables), on=list(REGRET.key))[list(REGRET.columns)]


def _measures(outcomes: Outcomes) -> np.ndarray:
    """Accuracy, lateness and latency, [3, controllers, budgets, n]."""
    late = outcomes.latency_ms > outcomes.budget_ms[:, None]
    return np.stack([outcomes.accuracy, late, outcomes.latency_ms])


def _scopes(
    datasets: Sequence[Outcomes], values_of: Callable[[Outcomes], np.ndarray]
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """(dataset, budget, clusters [n], values [..., n]) of each dataset and of all of them together, at each budget and
    over them all, where `values_of` a dataset is [..., budgets, n]."""
    for part in datasets:
        if part.controllers != datasets[0].controllers or set(part.budgets) != set(datasets[0].budgets):
            raise AdaMolmoError(
                f"dataset {part.dataset} has other controllers or budgets than {datasets[0].dataset}; "
                "expected the same cells for every dataset."
            )
    each = [_over_budgets(part, values_of(part)) for part in datasets]
    clusters = [np.unique(part.clusters, return_inverse=True)[1] for part in datasets]
    for part, values, members in zip(datasets, each, clusters, strict=True):
        yield from ((part.dataset, budget, members, values[budget]) for budget in values)
    if len(datasets) > 1:
        starts = np.cumsum([0, *(members.max() + 1 for members in clusters[:-1])])  # no two datasets share an image
        members = np.concatenate([members + start for members, start in zip(clusters, starts, strict=True)])
        for budget in each[0]:
            yield ALL_DATASETS, budget, members, np.concatenate([values[budget] for values in each], axis=-1)


def _over_budgets(outcomes: Outcomes, values: np.ndarray) -> dict[str, np.ndarray]:
    """`values` [..., budgets, n] at each budget, and their mean over the feasible ones: [..., n] by budget."""
    chosen = outcomes.feasible if outcomes.feasible.any() else np.ones_like(outcomes.feasible)
    at = {budget: values[..., place, :] for place, budget in enumerate(outcomes.budgets)}
    return at | {ALL_BUDGETS: values[..., chosen, :].mean(axis=-2)}


def _pairs(
    controllers: Sequence[str], clusters: np.ndarray, measures: np.ndarray, resampling: Resampling
) -> pd.DataFrame:
    """The differences of every ordered pair, from `measures` [3, controllers, n]."""
    pairs = list(permutations(range(len(controllers)), 2))
    if not pairs:
        return pd.DataFrame(columns=[name for name in COMPARISONS.columns if name not in ("dataset", "budget")])
    left, right = map(list, zip(*pairs, strict=True))
    columns = {}
    for name, values in zip(("accuracy_gain", "violation_change", "latency_change_ms"), measures, strict=True):
        interval = mean_intervals(values[left] - values[right], clusters, resampling)
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
    accuracy = measures[0]
    return pd.DataFrame(
        {
            "controller": [controllers[i] for i in left],
            "other": [controllers[i] for i in right],
            "accuracy_p": sign_flip_test(accuracy[left] - accuracy[right], clusters, seed=resampling.seed),
            **columns,
        }
    )


def hypervolumes(datasets: Sequence[Outcomes], resampling: Resampling) -> pd.DataFrame:
    """The rows of the table `hypervolumes`."""
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
