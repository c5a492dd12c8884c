"""A table as LaTeX that a paper can take: cut into floats that fit a page of two columns.

    rows of a table -> blocks (what stands under one heading) -> floats of at most _LINES lines -> the template

A block whose columns are those of the block above it does not repeat them. Names of controllers share what width the
numbers leave and are broken where that is too little, so no line is too long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from adamolmo.budgets import KINDS, kind_of, place_of_kind
from adamolmo.report.figures.style import in_order
from adamolmo.report.numbers import estimate
from adamolmo.report.results import budget_name
from adamolmo.report.tables import StudyTable
from adamolmo.report.templates import render
from adamolmo.statistics.intervals import SIGNIFICANCE

_BUDGETS_ACROSS = 4  # with their intervals they leave a quarter of the width to the names
_NAMES_ACROSS = 42  # characters of a line's names
_LINES = 46  # of a float
_HEADING = 2  # lines of a block beside its rows
_DIFFERENCES = {
    "accuracy (points)": "accuracy_gain",
    "over budget (points)": "violation_change",
    "latency (ms)": "latency_change",
}


@dataclass(frozen=True)
class Entry:
    """A number with its interval, which may be empty."""

    text: str
    interval: str = ""
    bold: bool = False
    grey: bool = False


@dataclass(frozen=True)
class Block:
    """Attributes:
    names, columns: titles of the columns that name a row, and of those with its numbers.
    heading: what its rows have in common; below: what stands beside it under each column, or nothing.
    rows: the names of each and its entries.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    heading: str
    below: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], list[Entry]]]


def latex(template: Path, name: str, table: StudyTable) -> str:
    """The source of the table's floats."""
    blocks = list(_by_budget(table.rows, table.measure) if table.measure else _differences(table.rows))
    return render(template, name=name, caption=table.caption, floats=_floats(blocks))


def _by_budget(rows: pd.DataFrame, measure: str) -> Iterator[Block]:
    """Per group of budgets and dataset: a controller per row, a budget per column, from tight to loose by kind."""
    by_ms = rows.groupby("budget")["budget_ms"].mean().sort_values(kind="stable").index
    budgets = sorted(by_ms, key=place_of_kind)
    for group in _groups(budgets):
        columns = tuple(budget_name(budget) for budget in group)
        for dataset, of_dataset in rows.groupby("dataset", observed=True):
            cells = of_dataset.set_index(["controller", "budget"])
            below = tuple(_ms(cells.xs(budget, level="budget")["budget_ms"].iloc[0]) for budget in group)
            found = [
                ((controller,), [_entry(cells.loc[(controller, budget)], measure) for budget in group])
                for controller in in_order(of_dataset["controller"])
            ]
            yield Block(("controller",), columns, str(dataset), below, found)


def _ms(value: float) -> str:
    """With three digits."""
    return f"{value:#.3g}".rstrip(".") + " ms"


def _groups(budgets: Sequence[str]) -> list[list[str]]:
    """At most _BUDGETS_ACROSS each; the budgets of one kind stay together if they fit."""
    kinds = [[budget for budget in budgets if kind_of(budget) == kind] for kind in KINDS]
    parts = [kind[start : start + _BUDGETS_ACROSS] for kind in kinds for start in range(0, len(kind), _BUDGETS_ACROSS)]
    groups: list[list[str]] = []
    for part in parts:
        if groups and len(groups[-1]) + len(part) <= _BUDGETS_ACROSS:
            groups[-1] += part
        else:
            groups.append(part)
    return groups


def _entry(cell: pd.Series, measure: str) -> Entry:
    stem = measure.removesuffix("_pct")
    text, interval = estimate(cell[measure], cell[f"{stem}_low_pct"], cell[f"{stem}_high_pct"])
    return Entry(text, interval, bold=bool(cell["best"]), grey=not cell["keeps_budget"])


def _differences(rows: pd.DataFrame) -> Iterator[Block]:
    """Per dataset and kind of budget a pair of controllers per row; who is compared with the same one all along is
    named in the caption."""
    names = ("controller", "other") if rows["other"].nunique() > 1 else ("controller",)
    accuracy, *others = _DIFFERENCES
    columns = (accuracy, "p", *others)
    for dataset, of_dataset in rows.groupby("dataset", observed=True):
        for kind in [kind for kind in KINDS if kind in set(of_dataset["budgets"])]:
            found = []
            for _, row in of_dataset[of_dataset["budgets"] == kind].iterrows():
                p = Entry("<0.001" if row["p_holm"] < 0.0005 else f"{row['p_holm']:.3f}")
                first, *rest = (_difference(row, column) for column in _DIFFERENCES)
                found.append((tuple(row[name] for name in names), [first, p, *rest]))
            yield Block(names, columns, f"{dataset}, budgets {KINDS[kind]}", (), found)


def _difference(row: pd.Series, column: str) -> Entry:
    stem, unit = _DIFFERENCES[column], "ms" if column.endswith("(ms)") else "points"
    text, interval = estimate(*(row[f"{stem}{end}_{unit}"] for end in ("", "_low", "_high")), signed=True)
    return Entry(text, interval, bold=stem == "accuracy_gain" and row["p_holm"] < SIGNIFICANCE)


def _floats(blocks: Sequence[Block]) -> list[list[Block]]:
    """A block that does not fit below the others starts a new float; one that none holds is continued in the next."""
    floats: list[list[Block]] = []
    left = 0
    for block in blocks:
        if _HEADING + sum(map(_lines, block.rows)) > left:
            floats.append([])
            left = _LINES
        part = []
        left -= _HEADING
        for row in block.rows:
            if _lines(row) > left:
                floats[-1].append(replace(block, rows=part))
                floats.append([])
                part, left = [], _LINES - _HEADING
            part.append(row)
            left -= _lines(row)
        floats[-1].append(replace(block, rows=part))
    return floats or [[]]


def _lines(row: tuple[tuple[str, ...], list[Entry]]) -> int:
    """That its names take, which share a third of the width."""
    names, _ = row
    return max(-(-len(name) * len(names) // _NAMES_ACROSS) for name in names)
