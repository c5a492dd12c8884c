"""What several figures share: one panel per dataset or task, its rows and budgets, the legend below, error bars."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.budgets import Budget
from adamolmo.controllers.roles import ORACLE
from adamolmo.report.figures import style
from adamolmo.report.figures.style import EXPLAINED, in_order, look

MANY = 8  # controllers: more are drawn family by family
_PANEL_IN = 2.2  # the least width of a panel with the names of its rows or values
_CHARACTERS_PER_IN = 21  # of the smallest text


def columns(count: int, width: float) -> int:
    """How many of so many panels stand side by side: at most 3 over both columns of a paper, 1 in one; as few as need
    no further row, so that four are a square."""
    most = max(1, int(width / _PANEL_IN))
    rows = -(-count // most)
    return -(-count // rows)


def panel_grid(names: Iterable[str], row_in: float, width: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with one panel per name (of a dataset or task), in alphabetical order."""
    names = sorted(set(names))
    across = columns(len(names), width)
    rows = -(-len(names) // across)
    figure = Figure(figsize=(width, row_in * rows))
    grid = figure.subplots(rows, across, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.remove()
    return figure, dict(zip(names, grid, strict=False))


def label_outer(panels: Mapping[str, Axes], x: str, y: str) -> None:
    for axes in panels.values():
        axes.set_xlabel(x)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(y)


def name_rows(panels: Iterable[Axes], names: Sequence[str], first: float = 0.0) -> None:
    """A row per name in every panel, the first at `first`, the next one below; their names stand on the left."""
    for axes in panels:
        shown = names if axes.get_subplotspec().is_first_col() else [""] * len(names)
        axes.set_yticks(first + np.arange(len(names)), shown)
        axes.tick_params(axis="y", length=0)


def budget_axis(axes: Axes, budgets: pd.DataFrame) -> None:
    """Budgets (of `results.budgets_of`) side by side: their names, upright where these would touch."""
    names = [Budget.parse(budget).label(short=True) for budget in budgets.index]
    upright = len(names) * max(map(len, names)) > 24
    axes.set_xticks(range(len(budgets)), names, fontsize=style.TEXT_PT, rotation=90 if upright else 0)
    axes.set_xlim(-0.5, len(budgets) - 0.5)


def legend_below(figure: Figure, handles: Sequence, controllers: Iterable[str] = (), **spacing: float) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its height. It begins with what the
    names of these controllers do not say."""
    characters = int(_CHARACTERS_PER_IN * figure.get_figwidth())
    notes = [f"{name}: {EXPLAINED[name]}" for name in in_order(controllers) if name in EXPLAINED]
    note = "\n".join(fill(text, characters) for text in notes)
    looks = {"columnspacing": 1.2, "handlelength": 2.4, "handletextpad": 0.5, "labelspacing": 0.35, "alignment": "left"}
    looks |= {"title": note or None, "title_fontsize": style.TEXT_PT} | spacing
    for ncols in range(min(len(handles), 13), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols, **looks)
        extent = legend.get_window_extent()
        if extent.width <= 0.98 * figure.bbox.width or ncols == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def controller_handles(controllers: Iterable[str], lines: bool = True) -> list[Line2D]:
    """The legend's entries of controllers."""
    return [
        Line2D(
            [],
            [],
            color=look(name).color,
            linestyle=look(name).linestyle if lines else "",
            label=name,
            **look(name).filled,
        )
        for name in in_order(controllers)
    ]


def upper_bound_handle(rows: pd.DataFrame) -> list[Line2D]:
    """The legend's entry for the oracle, if the study has it."""
    return [Line2D([], [], label=ORACLE, **style.UPPER_BOUND)] if (rows["controller"] == ORACLE).any() else []


def groups_of(controllers: Sequence[str]) -> dict[str, list[str]]:
    """Controllers to be drawn in one panel: all if they are few, else by family; under the name of the family."""
    if len(controllers) <= MANY:
        return {"": list(controllers)}
    families = dict.fromkeys(style.family(name) for name in controllers)
    return {name: [one for one in controllers if style.family(one) == name] for name in families}


def circle(marker: str) -> dict[str, object]:
    """A small white marker, alone."""
    return {"marker": marker, "linestyle": "", "color": "white", "mec": style.EDGE, "mew": 0.5, "markersize": 2.6}


def error_bars(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths of the error bars of a column with `_low` and `_high`: [2, rows]."""
    value = rows[column]
    return np.stack([value - rows[f"{column}_low"], rows[f"{column}_high"] - value]).clip(0)


def spread(count: int, reach: float) -> np.ndarray:
    return np.linspace(-reach, reach, count) if count != 1 else np.zeros(1)
