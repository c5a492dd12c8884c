"""What several figures share: one panel per dataset or task, its rows and budgets, the legend below, error bars."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.budgets import Budget
from adamolmo.controllers.roles import ORACLE
from adamolmo.report.figures import style

COLUMNS = 3  # panels side by side
_BROAD = 45  # characters that fit below a panel


def panel_grid(names: Iterable[str], row_in: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with one panel per name (of a dataset or task), in alphabetical order, at most COLUMNS side by side."""
    names = sorted(set(names))
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(style.PAGE_IN, row_in * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.remove()
    return figure, dict(zip(names, grid, strict=False))


def label_outer(panels: Mapping[str, Axes], x: str, y: str) -> None:
    for place, axes in enumerate(panels.values()):
        axes.set_xlabel(x)
        if place % COLUMNS == 0:
            axes.set_ylabel(y)


def name_rows(panels: Iterable[Axes], names: Sequence[str], first: float = 0.0) -> None:
    """A row per name in every panel, the first at `first`, the next one below; their names stand on the left."""
    for place, axes in enumerate(panels):
        axes.set_yticks(first + np.arange(len(names)), names if place % COLUMNS == 0 else [""] * len(names))
        axes.tick_params(axis="y", length=0)


def budget_axis(axes: Axes, budgets: pd.DataFrame, fontsize: float) -> None:
    """Budgets (of `results.budgets_of`) side by side in milliseconds, below their names where these say more;
    upright where there is no room for that."""
    ticks = [f"{ms:.3g}" for ms in budgets["budget_ms"]]
    parsed = [Budget.parse(budget) for budget in budgets.index]
    percent = any(budget.unit == "pct" for budget in parsed)
    names = [budget.label(short=True) if budget.unit == "pct" or budget.promise else "" for budget in parsed]
    crowded = len(names) * max(map(len, names)) > _BROAD
    if any(names):
        ticks = [f"{name}{', ' if crowded else chr(10)}{ms}" for name, ms in zip(names, ticks, strict=True)]
    axes.set_xticks(range(len(budgets)), ticks, fontsize=fontsize, rotation=90 if crowded else 0)
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    axes.set_xlabel("Budget (% of the full config; ms)" if percent else "Budget (ms)")


def legend_below(figure: Figure, handles: Sequence, **spacing: float) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its height."""
    spacing = {"columnspacing": 1.5, "handlelength": 2.2, "handletextpad": 0.6} | spacing
    for ncols in range(min(len(handles), 13), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols, **spacing)
        extent = legend.get_window_extent()
        if extent.width <= 0.98 * figure.bbox.width or ncols == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def upper_bound_handle(rows: pd.DataFrame) -> list[Line2D]:
    """The legend's entry for the oracle, if the study has it."""
    return (
        [Line2D([], [], label="oracle (best in hindsight)", **style.UPPER_BOUND)]
        if (rows["controller"] == ORACLE).any()
        else []
    )


def circle(marker: str) -> dict[str, object]:
    """A small white marker, alone."""
    return {"marker": marker, "linestyle": "", "color": "white", "mec": style.EDGE, "mew": 0.5, "markersize": 2.6}


def error_bars(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths of the error bars of a column with `_low` and `_high`: [2, rows]."""
    value = rows[column]
    return np.stack([value - rows[f"{column}_low"], rows[f"{column}_high"] - value]).clip(0)


def spread(count: int, reach: float) -> np.ndarray:
    return np.linspace(-reach, reach, count) if count != 1 else np.zeros(1)
