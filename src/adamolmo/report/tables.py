"""The study's tables, as tidy data for a CSV file and as LaTeX (booktabs) for a paper."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from adamolmo.controllers.roles import ORACLE, baseline_of, without_oracle
from adamolmo.evaluation.comparison import ALL_BUDGETS
from adamolmo.evaluation.summary import misses_budget
from adamolmo.report.figures.style import in_order
from adamolmo.statistics.intervals import SIGNIFICANCE, holm

_ESCAPES = str.maketrans({"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"})


@dataclass(frozen=True)
class StudyTable:
    """One table: tidy rows with units in the column names, and the source of a LaTeX table environment."""

    rows: pd.DataFrame
    latex: str


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
        "Accuracy (\\%). Bold: shown to be better than every other controller that keeps the budget (sign-flip test, "
        "Holm-corrected). Grey: the median request is over the budget."
    )
    if ORACLE in set(rows["controller"]):
        caption += " Oracle: the best choice in hindsight, the upper bound."
    return StudyTable(rows, _wide(rows, "accuracy", caption))


def violations(summary: pd.DataFrame) -> StudyTable:
    """Share of requests over the budget in percent, with exact binomial 95 % intervals."""
    rows = _cells(without_oracle(summary), "violation_rate").assign(best=False)
    caption = "Requests over the budget (\\%). Grey: the median request is over the budget."
    return StudyTable(rows, _wide(rows, "violations", caption))


def gains(comparisons: pd.DataFrame) -> StudyTable:
    """Every controller against the baseline, over the feasible budgets, on the same questions; dataset 'all': all."""
    comparisons = without_oracle(comparisons)
    baseline = baseline_of(comparisons["other"]) if len(comparisons) else "the baseline"
    pairs = comparisons[(comparisons["budget"] == ALL_BUDGETS) & (comparisons["other"] == baseline)]
    return _differences(pairs, "gains", f"Differences to {baseline}".translate(_ESCAPES))


def designs(comparisons: pd.DataFrame) -> StudyTable:
    """Design 1 (two-stage) against design 2 (single-stage): every pair, over the feasible budgets."""
    pairs = comparisons[
        (comparisons["budget"] == ALL_BUDGETS)
        & comparisons["controller"].str.startswith("two-stage-")
        & comparisons["other"].str.startswith("single-stage-")
    ]
    return _differences(pairs, "designs", "Design 1 (two-stage) less design 2 (single-stage)")


TABLES: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame], StudyTable]] = {
    "accuracy": accuracy,
    "violations": lambda summary, comparisons: violations(summary),
    "gains": lambda summary, comparisons: gains(comparisons),
    "designs": lambda summary, comparisons: designs(comparisons),
}


def _cells(summary: pd.DataFrame, measure: str) -> pd.DataFrame:
    order = {name: place for place, name in enumerate(in_order(summary["controller"]))}
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
            "order": summary["controller"].map(order),
        }
    )
    return rows.sort_values(["dataset", "order", "budget_ms"], ignore_index=True).drop(columns="order")


def _shown_best(cell: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Which rows of one dataset and budget are shown to be the best of it."""
    once = pairs[pairs["controller"] < pairs["other"]]
    p_of = {
        frozenset(names): p
        for *names, p in zip(once["controller"], once["other"], holm(once["accuracy_p"]), strict=True)
    }
    value = cell["accuracy_pct"]
    top, rest = cell[value == value.max()], cell[value < value.max()]
    beaten = all(
        p_of[frozenset((one, other))] < SIGNIFICANCE for one in top["controller"] for other in rest["controller"]
    )
    return (value == value.max()) & beaten & (len(rest) > 0)


def _differences(pairs: pd.DataFrame, name: str, caption: str) -> StudyTable:
    columns = {"dataset": pairs["dataset"], "controller": pairs["controller"], "other": pairs["other"]}
    measures = {
        "accuracy_gain": ("accuracy_gain_points", 100),
        "violation_change": ("violation_change_points", 100),
        "latency_change_ms": ("latency_change_ms", 1),
    }
    for measure, (column, scale) in measures.items():
        stem, unit = column.rsplit("_", 1)
        columns |= {column: scale * pairs[measure]}
        columns |= {f"{stem}_{end}_{unit}": scale * pairs[f"{measure}_{end}"] for end in ("low", "high")}
    rows = pd.DataFrame(columns).assign(p=pairs["accuracy_p"], p_holm=holm(pairs["accuracy_p"]))
    order = {name: place for place, name in enumerate(in_order(rows["controller"]))}
    rows = rows.assign(order=rows["controller"].map(order)).sort_values(["dataset", "order", "other"])
    rows = rows.drop(columns="order").reset_index(drop=True)
    return StudyTable(rows, _difference_latex(rows, name, caption))


def _wide(rows: pd.DataFrame, name: str, caption: str) -> str:
    """Controllers down, budgets across, one block of rows per dataset."""
    (value,) = [column for column in rows.columns if f"{column.removesuffix('_pct')}_low_pct" in rows.columns]
    lines, most = [], rows.groupby("dataset", observed=True)["budget"].nunique().max()
    for dataset, block in rows.groupby("dataset", observed=True):
        budgets = block.drop_duplicates("budget").sort_values("budget_ms")["budget"].tolist()
        heads = [budget.replace("pct", r"\,\%").replace("ms", r"\,ms") for budget in budgets]
        lines += [r"\midrule", " & ".join([rf"\textit{{{dataset.translate(_ESCAPES)}}}", *heads]) + r" \\"]
        for controller in in_order(block["controller"]):
            cells = block[block["controller"] == controller].set_index("budget")
            shown = [_number(cells.loc[budget], value) if budget in cells.index else "" for budget in budgets]
            lines.append(" & ".join([controller.translate(_ESCAPES), *shown]) + r" \\")
    return _environment(lines[1:], "l" + "r" * most, name, caption)


def _number(cell: pd.Series, value: str) -> str:
    text = f"{cell[value]:.1f}"
    text = rf"\textbf{{{text}}}" if cell["best"] else text
    return text if cell["keeps_budget"] else rf"\textcolor{{gray}}{{{text}}}"


def _difference_latex(rows: pd.DataFrame, name: str, caption: str) -> str:
    head = [
        r"dataset & controller & other & accuracy (points) & $p$ & over budget (points) & latency (ms) \\",
        r"\midrule",
    ]
    lines = []
    for row in rows.itertuples():
        gain = f"{row.accuracy_gain_points:+.1f}"
        lines.append(
            f"{row.dataset} & {row.controller} & {row.other} & ".translate(_ESCAPES).replace(r"\&", "&")
            + (rf"\textbf{{{gain}}}" if row.p_holm < SIGNIFICANCE else gain)
            + f" [{row.accuracy_gain_low_points:+.1f}, {row.accuracy_gain_high_points:+.1f}] & {row.p_holm:.3f} & "
            + f"{row.violation_change_points:+.1f} & {row.latency_change_ms:+.1f} "
            + r"\\"
        )
    caption += ", mean over the feasible budgets, paired 95\\,\\% intervals; $p$: sign-flip test, Holm-corrected."
    return _environment([*head, *lines], "lllrrrr", name, caption)


def _environment(lines: list[str], columns: str, name: str, caption: str) -> str:
    """Needs the packages booktabs and xcolor."""
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
