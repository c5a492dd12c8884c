"""The study's tables: tidy data, and what their captions say; `paper_tables` lays them out for LaTeX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adamolmo.budgets import KINDS, place_of_kind
from adamolmo.controllers.roles import baseline_of, without_oracle
from adamolmo.evaluation.summary import misses_budget
from adamolmo.report.figures.style import EXPLAINED, in_order
from adamolmo.report.numbers import estimate
from adamolmo.report.results import over_baseline
from adamolmo.statistics.intervals import SIGNIFICANCE, holm

_GREY = "Grey: the median request, under a promised mean the mean, is over the budget."
_MEANS = (
    "mean over the feasible budgets of a kind, with paired 95 % intervals. Bold: the accuracies differ (sign-flip "
    f"test, Holm-corrected p < {SIGNIFICANCE:g})."
)


@dataclass(frozen=True)
class StudyTable:
    """One table.

    Attributes:
        rows: tidy, with units in the column names.
        caption: plain text.
        measure: the column that a paper shows by budget; empty if it shows differences between controllers.
    """

    rows: pd.DataFrame
    caption: str
    measure: str = ""


def accuracy(summary: pd.DataFrame, comparisons: pd.DataFrame) -> StudyTable:
    """Accuracy in percent by dataset, controller and budget, with 95 % intervals.

    `best` marks, of the controllers whose median keeps the budget, the most accurate one if the sign-flip test shows it
    to be better than every other that keeps it (Holm-corrected over all pairs of the cell); controllers with the very
    same accuracy share the mark. The oracle is listed as the upper bound, without a mark.
    """
    rows, comparisons = _cells(summary, "accuracy").assign(best=False), without_oracle(comparisons)
    candidates = without_oracle(rows[rows["keeps_budget"]])
    for (dataset, budget), cell in candidates.groupby(["dataset", "budget"], observed=True):
        pairs = comparisons[(comparisons["dataset"] == dataset) & (comparisons["budget"] == budget)]
        rows.loc[cell.index, "best"] = _shown_best(cell, pairs)
    caption = (
        f"Accuracy (%) with 95 % intervals. {_GREY} Bold: the highest of the others, also of several equal ones, if "
        f"shown to be above all below it (sign-flip test, Holm-corrected p < {SIGNIFICANCE:g})."
    )
    return StudyTable(rows, caption + _explained(rows), "accuracy_pct")


def violations(summary: pd.DataFrame) -> StudyTable:
    """Share of requests over the budget in percent, with exact binomial 95 % intervals."""
    rows = _cells(without_oracle(summary), "violation_rate").assign(best=False)
    caption = f"Requests over the budget (%) with 95 % intervals. {_GREY}{_explained(rows)}"
    return StudyTable(rows, caption, "violation_rate_pct")


def gains(comparisons: pd.DataFrame) -> StudyTable:
    """Every controller against the baseline, over the feasible budgets of a kind, on the same questions."""
    baseline = baseline_of(comparisons["other"]) if len(comparisons) else "the baseline"
    pairs = over_baseline(comparisons[comparisons["budget"].isin(KINDS)], baseline)
    rows = _differences(pairs)
    return StudyTable(rows, f"Differences to {baseline}, {_MEANS}{_explained(rows)}")


def designs(comparisons: pd.DataFrame) -> StudyTable:
    """Design 1 (two-stage) against design 2 (single-stage): every pair, over the feasible budgets of a kind."""
    pairs = comparisons[
        comparisons["budget"].isin(KINDS)
        & comparisons["controller"].str.startswith("two-stage-")
        & comparisons["other"].str.startswith("single-stage-")
    ]
    return StudyTable(_differences(pairs), f"Design 1 (two-stage) less design 2 (single-stage), {_MEANS}")


SERVING = {
    "ttft_p50_ms": "TTFT p50 (ms)",
    "ttft_p95_ms": "TTFT p95 (ms)",
    "tpot_p50_ms": "TPOT p50 (ms)",
    "tpot_p95_ms": "TPOT p95 (ms)",
    "goodput_per_s": "goodput (1/s)",
    "joules_per_answer": "energy per answer (J)",
    "joules_per_right_answer": "energy per right answer (J)",
}


def serving(summary: pd.DataFrame) -> pd.DataFrame:
    """By dataset, controller and budget what SERVING names, as text with 95 % intervals; columns that no cell has are
    left out, what a cell lacks is empty."""
    rows = _sorted(without_oracle(summary), "budget_ms", "budget")
    texts = {name: [_estimate(row, name) for row in rows.to_dict("records")] for name in SERVING}
    known = {name: text for name, text in texts.items() if any(text)}
    return rows[["dataset", "controller", "budget"]].assign(**known)


def _estimate(row: Mapping, name: str) -> str:
    if pd.isna(row[name]):
        return ""
    return " ".join(estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])).rstrip()


TABLES: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame], StudyTable]] = {
    "accuracy": accuracy,
    "violations": lambda summary, comparisons: violations(summary),
    "gains": lambda summary, comparisons: gains(comparisons),
    "designs": lambda summary, comparisons: designs(comparisons),
}


def by_dataset(rows: pd.DataFrame) -> list[dict]:
    """Of a table with a measure, per dataset its budgets, kind by kind from tight to loose, and each controller's cells
    at them."""
    blocks = []
    rows = rows.assign(kind=rows["budget"].map(place_of_kind)).sort_values(["kind", "budget_ms", "budget"])
    for dataset, block in rows.groupby("dataset", observed=True):
        budgets = block.drop_duplicates("budget")
        cells = {name: block[block["controller"] == name].to_dict("records") for name in in_order(block["controller"])}
        blocks.append({"dataset": dataset, "budgets": budgets.to_dict("records"), "controllers": cells})
    return blocks


def _explained(rows: pd.DataFrame) -> str:
    """What names in the table do not say, as sentences behind its caption."""
    shown = set(rows["controller"])
    return "".join(f" {name}: {words}." for name, words in EXPLAINED.items() if name in shown)


def _cells(summary: pd.DataFrame, measure: str) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "dataset": summary["dataset"],
            "controller": summary["controller"],
            "budget": summary["budget"],
            "budget_ms": summary["budget_ms"],
            f"{measure}_pct": 100 * summary[measure],
            f"{measure}_low_pct": 100 * summary[f"{measure}_low"],
            f"{measure}_high_pct": 100 * summary[f"{measure}_high"],
            "keeps_budget": ~misses_budget(summary),
        }
    )
    return _sorted(rows, "budget_ms", "budget")


def _shown_best(cell: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Which rows of one dataset and budget are shown to be the best of it."""
    once = pairs[pairs["controller"] < pairs["other"]]
    p_of = {
        frozenset(names): p
        for *names, p in zip(once["controller"], once["other"], holm(once["accuracy_p"]), strict=True)
    }
    highest = np.isclose(cell["accuracy_pct"], cell["accuracy_pct"].max(), rtol=0, atol=1e-6)  # sums of soft scores
    top, rest = cell[highest], cell[~highest]
    beaten = all(
        p_of[frozenset((one, other))] < SIGNIFICANCE for one in top["controller"] for other in rest["controller"]
    )
    return pd.Series(highest & beaten & (len(rest) > 0), cell.index)


def _differences(pairs: pd.DataFrame) -> pd.DataFrame:
    columns = {key: pairs[key] for key in ("dataset", "budget", "controller", "other")}
    measures = {
        "accuracy_gain": ("accuracy_gain_points", 100),
        "goodput_gain": ("goodput_gain_points", 100),
        "violation_change": ("violation_change_points", 100),
        "latency_change_ms": ("latency_change_ms", 1),
    }
    for measure, (column, scale) in measures.items():
        stem, unit = column.rsplit("_", 1)
        columns |= {column: scale * pairs[measure]}
        columns |= {f"{stem}_{end}_{unit}": scale * pairs[f"{measure}_{end}"] for end in ("low", "high")}
    rows = pd.DataFrame(columns).assign(p=pairs["accuracy_p"], p_holm=holm(pairs["accuracy_p"]))
    return _sorted(rows.rename(columns={"budget": "budgets"}), "budgets", "other")


def _sorted(rows: pd.DataFrame, *last: str) -> pd.DataFrame:
    """By dataset, controller (in the order of every legend) and the columns `last`."""
    place = {name: i for i, name in enumerate(in_order(rows["controller"]))}
    keys = rows.assign(controller=rows["controller"].map(place)).sort_values(["dataset", "controller", *last])
    return rows.loc[keys.index].reset_index(drop=True)
