"""How often each controller misses its budget, and whether that is more than was promised."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamolmo.budgets import ALLOWED_LATE, kind_of
from adamolmo.controllers.roles import heeds_budget, without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import budget_axis, legend_below, name_rows, panel_grid
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of

_PROMISED = {"color": style.EDGE, "linewidth": 0.8}
_CROSS = {"color": style.EDGE, "marker": "x", "markersize": 3.2, "markeredgewidth": 0.7, "linestyle": "none"}
_STRIP = 0.78  # share of a controller's row that its rates from 0 to 100 % take


@styled
def draw(summary: pd.DataFrame, path: str | Path) -> Figure:
    """Share of requests over the budget with 95 % Clopper-Pearson bounds, one strip from 0 to 100 % per controller.
    The scale is the square root of the rate, so that the 5 % that matter are visible.

    A tick is what the budget promises at most. Filled: that was not shown to be broken; black: it was; white: nothing
    is promised of a single request. Shaded: no static config meets the budget. Cross: the rate at the profile's speed,
    where the device was not as fast and no governor answers for it.
    """
    summary = without_oracle(summary)
    controllers = in_order(summary["controller"])
    figure, panels = panel_grid(summary["dataset"], row_in=0.65 + 0.34 * len(controllers))
    for dataset, axes in panels.items():
        cells = summary[summary["dataset"] == dataset]
        budgets = budgets_of(cells)
        for x, infeasible in enumerate(~budgets["feasible"]):
            if infeasible:
                axes.axvspan(x - 0.5, x + 0.5, color=style.ALARM, linewidth=0)
        for row, controller in enumerate(controllers):
            _strip(axes, row, controller, cells[cells["controller"] == controller], budgets)
        budget_axis(axes, budgets, fontsize=5.5)
        axes.set_ylim(len(controllers) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.set_title(dataset)
    name_rows(panels.values(), controllers)
    legend_below(figure, _handles(with_crosses=(summary["slowdown"] != 1).any()))
    return style.save(figure, path)


def _strip(axes: Axes, row: int, controller: str, cells: pd.DataFrame, budgets: pd.DataFrame) -> None:
    shape, cells = look(controller), cells.sort_values(["budget_ms", "budget"])

    def height(rate):
        return row + _STRIP * (0.5 - np.sqrt(rate))  # the axis points down

    axes.axhspan(height(0), height(1), color="#F2F2F2", linewidth=0, zorder=0.2, alpha=0.7)
    x = budgets.index.get_indexer(cells["budget"])
    middle, low, high = (height(cells[f"violation_rate{end}"]) for end in ("", "_low", "_high"))
    bars = np.stack([middle - high, low - middle]).clip(0)
    axes.errorbar(x, middle, yerr=bars, color=shape.color, linestyle="", elinewidth=1.4, zorder=2)
    for _, places in cells.assign(x=x, y=middle).groupby(cells["budget"].map(kind_of)):
        axes.plot(places["x"], places["y"], color=shape.color, linewidth=0.5, zorder=2)
    allowed = ALLOWED_LATE if heeds_budget(controller) else {}
    promised = cells["budget"].map(kind_of).map(allowed).astype(float)  # NaN where nothing is
    broken = cells["violation_rate_low"] > promised
    for at, y, limit, is_broken in zip(x, middle, promised, broken, strict=True):  # the row names the controller
        face = style.BLACK if is_broken else "white" if np.isnan(limit) else shape.color
        axes.plot(
            at, y, "o", mfc=face, mec=style.BLACK if is_broken else shape.color, mew=0.7, markersize=2.6, zorder=3
        )
        axes.plot([at - 0.3, at + 0.3], [height(limit)] * 2, **_PROMISED, zorder=0.5)
    uneven = (promised.isna() & (cells["slowdown"] != 1)).to_numpy()
    axes.plot(x[uneven], height(cells["violation_rate_at_profile_speed"])[uneven], **_CROSS, zorder=3.5)


def _handles(with_crosses: bool) -> list:
    looks = {"color": style.EDGE, "marker": "o", "markersize": 3.5, "linewidth": 0.8}
    cross = Line2D([], [], label="had the device been as fast as during the profile", **_CROSS)
    return [
        Line2D([], [], label="requests over budget, bounds 95 %; strip: 0 to 100 %, root scale", mfc="white", **looks),
        Line2D([], [], label="promised at most", **_PROMISED),
        Line2D([], [], label="filled: not shown to be broken (black: broken)", **looks | {"color": style.GREY}),
        *([cross] if with_crosses else []),
        Patch(color=style.ALARM, label="budget that no static config meets"),
    ]
