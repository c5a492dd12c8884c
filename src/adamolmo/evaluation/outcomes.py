"""What all controllers of a study answered on the same questions, and over which of them numbers are pooled."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.budgets import KINDS, Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table
from adamolmo.knobs import KnobConfig
from adamolmo.names import ALL_DATASETS

_PER_REQUEST = {"accuracy": float, "latency_ms": float, "controller_ms": float, "network_decided": bool}
_COLUMNS = ["sample_id", "image_id", *_PER_REQUEST, *KNOBS]


@dataclass(frozen=True)
class Outcomes:
    """Of one dataset.

    Attributes:
        budgets: as written, by rising milliseconds, with budget_ms and feasible of each.
        sample_ids, clusters: of each sample its id and its image, [n].
        accuracy, controller_ms: [controllers, budgets, n].
        latency_ms: as measured where the budget promises something, for there a governor answers for it; else at the
            profile's speed, for cells run at different times, and on a device that was slower during one of them its
            controller would be blamed for that: [controllers, budgets, n].
        network_decided: whether a network chose, [controllers, budgets, n].
        configs: chosen configurations as text, [controllers, budgets, n].
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
    controller_ms: np.ndarray
    network_decided: np.ndarray
    configs: np.ndarray

    @property
    def late(self) -> np.ndarray:
        """Whether a request took longer than its budget, [controllers, budgets, n]."""
        return self.latency_ms > self.budget_ms[:, None]

    def of_kind(self, kind: str) -> np.ndarray:
        """Which budgets are pooled as this kind: the feasible ones of it, or all of it if none is; bool [budgets]."""
        member = np.array([Budget.parse(budget).kind == kind for budget in self.budgets])
        return member & self.feasible if (member & self.feasible).any() else member


def read_outcomes(summary: pd.DataFrame, folder: str | Path) -> Iterator[Outcomes]:
    """Per dataset the answers that `summary` counts, from `folder`/{dataset}/{controller}/{budget}.parquet.

    Raises AdaMolmoError when two cells of a dataset did not answer the same questions.
    """
    for dataset, cells in summary.groupby("dataset", sort=True, observed=True):
        budgets = cells.groupby("budget", observed=True)[["budget_ms", "feasible"]].first()
        budgets = budgets.sort_values(["budget_ms", "budget"])
        controllers = tuple(sorted(cells["controller"].unique()))
        slowdowns = cells.set_index(["controller", "budget"])["slowdown"]
        first, tables = None, []
        for controller in controllers:
            for budget in budgets.index:
                path = Path(folder, dataset, controller, f"{budget}.parquet")
                table = read_table(path, EVALUATION, _COLUMNS)[0]
                if Budget.parse(budget).promise is None:
                    table["latency_ms"] = table["latency_ms"].astype(float) / slowdowns[controller, budget]
                tables.append(table)
                first = table if first is None else first
                if table["sample_id"].tolist() != first["sample_id"].tolist():
                    raise AdaMolmoError(
                        f"{path}: answers other questions than {controllers[0]} at {budgets.index[0]}; "
                        "a paired comparison needs the same questions in every cell of a dataset."
                    )
        shape = len(controllers), len(budgets), len(first)
        per_request = {
            name: np.stack([table[name].to_numpy(kind) for table in tables]).reshape(shape)
            for name, kind in _PER_REQUEST.items()
        }
        configs = np.array([_configs(table) for table in tables], dtype=object).reshape(shape)
        yield Outcomes(
            dataset,
            controllers,
            tuple(budgets.index),
            budgets["budget_ms"].to_numpy(float),
            budgets["feasible"].to_numpy(bool),
            first["sample_id"].to_numpy(),
            first["image_id"].to_numpy(),
            configs=configs,
            **per_request,
        )


def scopes(
    datasets: Sequence[Outcomes], values_of: Callable[[Outcomes], np.ndarray]
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """(dataset, budget, clusters [n], values [..., n]) of each dataset and of all of them together, at each budget and,
    under the name of the kind, as the mean over the budgets of each kind; `values_of` a dataset is [..., budgets, n].

    Raises AdaMolmoError when the datasets differ in their controllers or budgets.
    """
    for part in datasets:
        if part.controllers != datasets[0].controllers or set(part.budgets) != set(datasets[0].budgets):
            raise AdaMolmoError(
                f"dataset {part.dataset} has other controllers or budgets than {datasets[0].dataset}; "
                "expected the same cells for every dataset."
            )
    each = [_by_budget(part, values_of(part)) for part in datasets]
    clusters = [np.unique(part.clusters, return_inverse=True)[1] for part in datasets]
    for part, values, members in zip(datasets, each, clusters, strict=True):
        yield from ((part.dataset, budget, members, values[budget]) for budget in values)
    if len(datasets) > 1:
        starts = np.cumsum([0, *(members.max() + 1 for members in clusters[:-1])])  # no two datasets share an image
        members = np.concatenate([members + start for members, start in zip(clusters, starts, strict=True)])
        for budget in each[0]:
            yield ALL_DATASETS, budget, members, np.concatenate([values[budget] for values in each], axis=-1)


def _by_budget(outcomes: Outcomes, values: np.ndarray) -> dict[str, np.ndarray]:
    """`values` [..., budgets, n] at each budget, and their mean over those of each kind: [..., n] by budget or kind."""
    at = {budget: values[..., place, :] for place, budget in enumerate(outcomes.budgets)}
    pooled = {kind: outcomes.of_kind(kind) for kind in KINDS}
    return at | {kind: values[..., chosen, :].mean(axis=-2) for kind, chosen in pooled.items() if chosen.any()}


def _configs(table: pd.DataFrame) -> list[str]:
    columns = (table[knob].to_numpy() for knob in KNOBS)
    return [str(KnobConfig(*values)) for values in zip(*columns, strict=True)]
