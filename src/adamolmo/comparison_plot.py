"""The figure of `comparison.compare`: how much every controller gains on the baseline at every budget."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo import plot_style as style
from adamolmo.comparison import POOLED
from adamolmo.plot_style import PAGE_IN, in_order, look, styled

_DODGE = 0.36  # how far controllers spread around a budget's place
_ROW_IN = 2.3


@styled
def differences(comparison: pd.DataFrame, path: str | Path) -> Figure:
    """Panels: all datasets together, then each. Accuracy minus the baseline's in points, with 95 % intervals."""
    baseline = comparison["baseline"].iloc[0]
    shown = comparison[comparison["controller"] != baseline]
    scopes = sorted(comparison["dataset"].unique(), key=lambda name: (name != POOLED, name))
    columns = min(len(scopes), 2)
    figure = Figure(figsize=(PAGE_IN, _ROW_IN * -(-len(scopes) // columns)))
    grid = figure.subplots(-(-len(scopes) // columns), columns, squeeze=False, sharey=True).ravel()
    controllers = in_order(shown["controller"])
    places = dict(zip(controllers, np.linspace(-_DODGE, _DODGE, max(len(controllers), 2)), strict=False))
    for axes in grid[len(scopes) :]:
        axes.remove()
    for axes, scope in zip(grid, scopes, strict=False):
        cells = shown[shown["dataset"] == scope]
        budgets = _by_size(cells["budget"].unique())
        axes.axhline(0, color=style.GREY, linewidth=0.8)
        for edge in range(1, len(budgets)):
            axes.axvline(edge - 0.5, color=style.LIGHT, linewidth=0.6)
        for controller in controllers:
            one = cells[cells["controller"] == controller].set_index("budget").loc[budgets]
            value = 100 * one["accuracy_difference"]
            bars = [value - 100 * one["accuracy_difference_low"], 100 * one["accuracy_difference_high"] - value]
            shape = look(controller)
            axes.errorbar(
                np.arange(len(budgets)) + places[controller],
                value,
                yerr=np.clip(bars, 0, None),
                color=shape.color,
                marker=shape.marker,
                linestyle="",
                markersize=3.5,
                mec=style.EDGE if shape.marker != "x" else shape.color,
                mew=0.4,
                elinewidth=0.7,
            )
        axes.set_xticks(range(len(budgets)), [budget.replace("pct", " %").replace("ms", " ms") for budget in budgets])
        axes.set_xlim(-0.5, len(budgets) - 0.5)
        axes.set_title("all datasets" if scope == POOLED else scope)
        axes.grid(axis="y")
    for place, axes in enumerate(grid[: len(scopes)]):
        if place % columns == 0:
            axes.set_ylabel(f"Accuracy minus {baseline} (points)")
        if place >= len(scopes) - columns:
            axes.set_xlabel("Budget")
    handles = [
        Line2D([], [], color=look(c).color, marker=look(c).marker, linestyle="", mec=style.EDGE, mew=0.4, label=c)
        for c in controllers
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return style.save(figure, path)


def _by_size(budgets: np.ndarray) -> list[str]:
    """By unit, then by value."""
    return sorted(budgets, key=lambda text: (text.lstrip("0123456789."), float(text.rstrip("pctms"))))
