"""Which controller is better, on the same questions: paired differences between every two, and their hypervolumes.

Data flow: the answers of all cells -> outcomes [controllers, budgets, samples] per dataset -> differences per pair.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.errors import AdaMolmoError
from adamolmo.pareto import resampled_hypervolume
from adamolmo.schema import COMPARISONS, EVALUATION, HYPERVOLUMES, read_table
from adamolmo.statistics import mean_intervals, percentile_interval, sign_flip_test

ALL_BUDGETS = "all"
_COLUMNS = ["sample_id", "image_id", "accuracy", "latency_ms"]


@dataclass(frozen=True)
class Outcomes:
    """What all controllers of a study answered on one dataset.

    Attributes:
        budgets: as written, by rising milliseconds, with budget_ms and feasible of each.
        clusters: the image of each sample, [n].
        accuracy, latency_ms: [controllers, budgets, n].
    """

    dataset: str
    controllers: tuple[str, ...]
    budgets: tuple[str, ...]
    budget_ms: np.ndarray
    feasible: np.ndarray
    clusters: np.ndarray
    accuracy: np.ndarray
    latency_ms: np.ndarray


def baseline_of(controllers: Iterable[str]) -> str:
    """What the others are measured against: the plainest table if the study has it, else the first by name."""
    names = sorted(set(controllers))
    return next((name for name in ("lookup-mean", "lookup-median", "static-full") if name in names), names[0])


def read_outcomes(summary: pd.DataFrame, folder: str | Path) -> Iterator[Outcomes]:
    """Per dataset the answers that `summary` counts, from `folder`/{dataset}/{controller}/{budget}.parquet.

    Raises AdaMolmoError when two cells of a dataset did not answer the same questions.
    """
    for dataset, cells in summary.groupby("dataset", sort=True, observed=True):
        budgets = cells.groupby("budget", observed=True)[["budget_ms", "feasible"]].first().sort_values("budget_ms")
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
            first["image_id"].to_numpy(),
            accuracy=outcomes[:, :, 0],
            latency_ms=outcomes[:, :, 1],
        )


def compare(datasets: Iterable[Outcomes], resamples: int, seed: int) -> pd.DataFrame:
    """The rows of the table `comparisons`: every ordered pair of controllers at every budget, and over them all.

    'all' is the mean over the feasible budgets, or over all budgets if none is feasible.
    """
    tables = []
    for outcomes in datasets:
        late = (outcomes.latency_ms > outcomes.budget_ms[:, None]).astype(float)
        chosen = outcomes.feasible if outcomes.feasible.any() else np.ones_like(outcomes.feasible)
        measures = [outcomes.accuracy, late, outcomes.latency_ms]
        for place, budget in enumerate(outcomes.budgets):
            tables.append(_pairs(outcomes, budget, [measure[:, place] for measure in measures], resamples, seed))
        means = [measure[:, chosen].mean(axis=1) for measure in measures]
        tables.append(_pairs(outcomes, ALL_BUDGETS, means, resamples, seed))
    return pd.concat(tables, ignore_index=True)[list(COMPARISONS.columns)]


def _pairs(outcomes: Outcomes, budget: str, measures: Sequence[np.ndarray], resamples: int, seed: int) -> pd.DataFrame:
    pairs = list(permutations(range(len(outcomes.controllers)), 2))
    if not pairs:
        return pd.DataFrame(columns=list(COMPARISONS.columns))
    left, right = map(list, zip(*pairs, strict=True))
    columns = {}
    for name, values in zip(("accuracy_gain", "violation_change", "latency_change_ms"), measures, strict=True):
        interval = mean_intervals(values[left] - values[right], outcomes.clusters, resamples, seed)
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
    accuracy = measures[0]
    return pd.DataFrame(
        {
            "dataset": outcomes.dataset,
            "budget": budget,
            "controller": [outcomes.controllers[i] for i in left],
            "other": [outcomes.controllers[i] for i in right],
            "accuracy_p": sign_flip_test(accuracy[left] - accuracy[right], outcomes.clusters, seed=seed),
            **columns,
        }
    )


def hypervolumes(datasets: Iterable[Outcomes], resamples: int, seed: int) -> pd.DataFrame:
    """The rows of the table `hypervolumes`."""
    rows = []
    for outcomes in datasets:
        reference_ms = float(outcomes.budget_ms.max())
        shares = {}
        for name, latency_ms, accuracy in zip(
            outcomes.controllers, outcomes.latency_ms, outcomes.accuracy, strict=True
        ):
            value, resampled = resampled_hypervolume(
                latency_ms, accuracy, outcomes.clusters, reference_ms, resamples=resamples, seed=seed
            )
            shares[name] = value / reference_ms, resampled / reference_ms
        base, base_resampled = shares[baseline_of(shares)]
        for name, (value, resampled) in shares.items():
            area = percentile_interval(value, resampled)
            gain = percentile_interval(value - base, resampled - base_resampled)
            rows.append([outcomes.dataset, name, reference_ms, *vars(area).values(), *vars(gain).values()])
    return pd.DataFrame(rows, columns=list(HYPERVOLUMES.columns))
