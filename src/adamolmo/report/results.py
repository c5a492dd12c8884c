"""What figures, tables and pages ask of a study's results: its budgets, its knobs, who is over budget, who gains."""

import pandas as pd

from adamolmo.budgets import KINDS, Budget, kind_of, place_of_kind
from adamolmo.controllers.roles import heeds_budget, without_oracle
from adamolmo.evaluation.summary import misses_budget, static_configs, tiers_by_cost
from adamolmo.files.columns import KNOBS
from adamolmo.names import ALL_DATASETS
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import clopper_pearson

CELL = ["controller", "budget"]


def budgets_of(cells: pd.DataFrame) -> pd.DataFrame:
    """budget_ms and feasible by budget, kind by kind, of each from tight to loose."""
    budgets = cells.groupby("budget", observed=True)[["budget_ms", "feasible"]].first()
    budgets = budgets.sort_values(["budget_ms", "budget"])
    return budgets.loc[sorted(budgets.index, key=place_of_kind)]


def budget_name(budget: str) -> str:
    """As readers see it: '60 %', '170 ms', '60 % p95' or '60 % mean'."""
    return Budget.parse(budget).label(short=True)


def kinds_of(cells: pd.DataFrame) -> list[str]:
    """Kinds of the budgets, in the order in which they are shown."""
    found = set(cells["budget"].map(kind_of))
    return [kind for kind in KINDS if kind in found]


def everywhere(summary: pd.DataFrame) -> str:
    """Under which name of a dataset the tables of comparisons have all questions of the study."""
    datasets = summary["dataset"].unique()
    return ALL_DATASETS if len(datasets) > 1 else str(datasets[0])


def late_share(summary: pd.DataFrame, kind: str) -> Interval:
    """Of all requests of feasible cells of a kind, or of all of it if none is, whose controllers heed budgets."""
    cells = without_oracle(summary[summary["budget"].map(kind_of) == kind])
    cells = cells[cells["controller"].map(heeds_budget).astype(bool)]
    cells = cells[cells["feasible"]] if cells["feasible"].any() else cells
    late = (cells["violation_rate"] * cells["num_samples"]).round().sum()
    return clopper_pearson(int(late), int(cells["num_samples"].sum()))


def violation_rates(summary: pd.DataFrame) -> pd.DataFrame:
    """violation_rate with its bounds by controller and budget, over the questions of all datasets."""
    late = (summary["violation_rate"] * summary["num_samples"]).round().astype(int)
    counts = summary.assign(late=late).groupby(CELL)[["late", "num_samples"]].sum()
    rates = [clopper_pearson(*cell) for cell in zip(counts["late"], counts["num_samples"], strict=True)]
    ends = {"": "value", "_low": "low", "_high": "high"}
    columns = {f"violation_rate{end}": [getattr(rate, name) for rate in rates] for end, name in ends.items()}
    return pd.DataFrame(columns, counts.index)


def over_budget(cells: pd.DataFrame) -> pd.Series:
    """Of one dataset's cells by controller and budget: whether the median request is over the budget,
    or under a promised mean the mean."""
    return cells.assign(over=misses_budget(cells)).set_index(["controller", "budget"])["over"]


def over_baseline(comparisons: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The rows that compare a controller with the baseline; the oracle is none."""
    return without_oracle(comparisons[comparisons["other"] == baseline])


def knob_values(profile: pd.DataFrame) -> dict[str, list]:
    """The values of each knob, from cheap to dear, so that the last ones are the full config.

    Args:
        profile: rows of core_exp.
    """
    tiers = tiers_by_cost(static_configs(profile))
    return {knob: tiers if knob == "tier" else sorted(profile[knob].unique().tolist()) for knob in KNOBS}
