"""The results of a study of any shape, made up, and all tables that the library makes of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import study_data

from adamolmo.controllers.roles import ORACLE
from adamolmo.evaluation.comparison import compare, hypervolumes, regret
from adamolmo.evaluation.equal_latency import Static, equal_latency
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.outcomes import Outcomes
from adamolmo.evaluation.promises import promises
from adamolmo.evaluation.summary import collect
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.summary import SUMMARY
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import Resampling

_QUESTIONS = 12
_RESAMPLING = Resampling(20, seed=0)


@dataclass(frozen=True)
class Shape:
    """Attributes:
    top_k: values of that knob; the other two have one value where it has one.
    """

    controllers: Sequence[str] = ("lookup-mean", "static-full", "two-stage-budget")
    budgets: Sequence[str] = ("60pct", "80pct-p95", "80pct-mean")
    datasets: Sequence[str] = ("okvqa", "text_vqa")
    top_k: Sequence[int] = (4, 8)

    @property
    def configs(self) -> list[KnobConfig]:
        several = len(self.top_k) > 1
        tiers, blocks = (("low", "high"), (12, 16)) if several else (("high",), (16,))
        return [KnobConfig(tier, k, b) for tier in tiers for k in self.top_k for b in blocks]


def tables_of(shape: Shape, folder: Path) -> dict[str, pd.DataFrame]:
    """Of its cells, by the names of `report.inputs`: written and read as the study does it."""
    cells = study_data.write_cells(folder / "cells", shape.controllers, shape.budgets)
    summary = collect(path for path in cells if path.parts[-3] in shape.datasets)
    chosen = summary["num_samples"].map(lambda count: json.dumps({str(shape.configs[0]): count}))
    summary = summary.assign(knob_counts=chosen)
    outcomes = [_outcomes(dataset, rows, shape) for dataset, rows in summary.groupby("dataset")]
    statics = {part.dataset: Static.of(_grid(shape, 1), _grid(shape, 2)) for part in outcomes}
    comparisons = compare(outcomes, _RESAMPLING)
    made = [
        (SUMMARY, summary),
        (COMPARISONS, comparisons),
        (EQUAL_LATENCY, equal_latency(outcomes, statics, shape.configs, {}, _RESAMPLING)),
        (PROMISES, promises(outcomes, _RESAMPLING)),
        (HYPERVOLUMES, hypervolumes(outcomes, _RESAMPLING)),
    ]
    if ORACLE in shape.controllers:
        confirmed = {part.dataset: np.ones((len(part.budgets), _QUESTIONS)) for part in outcomes}
        made.append((REGRET, regret(comparisons, outcomes, confirmed, _RESAMPLING)))
    read = {}
    for schema, table in made:
        write_table(table, folder / schema.name, schema)
        read[schema.name] = read_table(folder / schema.name, schema)[0]
    return read


def profile_of(shape: Shape) -> pd.DataFrame:
    """core_exp rows of its datasets and configurations."""
    rows = study_data.profile(samples=9)
    names = rows["tier"] + "-k" + rows["top_k"].astype(str) + "-b" + rows["num_active_blocks"].astype(str)
    kept = rows["dataset"].isin(shape.datasets) & names.isin([str(config) for config in shape.configs])
    return rows[kept].reset_index(drop=True)


def _grid(shape: Shape, seed: int) -> GridOutcomes:
    rng = np.random.default_rng(seed)
    size = _QUESTIONS, len(shape.configs)
    return GridOutcomes([f"q{i:02d}" for i in range(_QUESTIONS)], rng.random(size), rng.uniform(9, 40, size))


def _outcomes(dataset: str, rows: pd.DataFrame, shape: Shape) -> Outcomes:
    budgets = rows.groupby("budget")[["budget_ms", "feasible"]].first().sort_values(["budget_ms"])
    rng = np.random.default_rng(3)
    controllers = tuple(sorted(rows["controller"].unique()))
    size = len(controllers), len(budgets), _QUESTIONS
    return Outcomes(
        dataset,
        controllers,
        tuple(budgets.index),
        budgets["budget_ms"].to_numpy(float),
        budgets["feasible"].to_numpy(bool),
        np.array([f"q{i:02d}" for i in range(_QUESTIONS)]),
        np.repeat(np.arange(_QUESTIONS // 3), 3),
        accuracy=rng.integers(0, 2, size).astype(float),
        latency_ms=rng.uniform(5, 45, size),
        controller_ms=rng.random(size),
        network_decided=rng.random(size) < 0.5,
        configs=np.array([str(config) for config in shape.configs], dtype=object)[
            rng.integers(0, len(shape.configs), size)
        ],
    )
