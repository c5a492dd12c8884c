"""Who is better, in one number per cell or controller: gains over the baseline per budget, and hypervolumes."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from adamolmo.controllers.roles import ORACLE, baseline_of, without_oracle
from adamolmo.evaluation.comparison import ALL_BUDGETS
from adamolmo.evaluation.summary import misses_budget
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import (
    COLUMNS,
    budget_ticks,
    budgets_of,
    error_bars,
    legend_below,
    panel_grid,
    upper_bound_handle,
)
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.statistics.intervals import SIGNIFICANCE, holm

_FULL_COLOR_POINTS = 10.0  # a larger difference has no darker colour
_WORSE_BETTER = LinearSegmentedColormap.from_list("worse_better", [style.ORANGE, "#FFFFFF", style.BLUE])


@styled
def gains(summary: pd.DataFrame, comparisons: pd.DataFrame, path: str | Path) -> Figure:
    """Accuracy gain over the baseline in points, one cell per controller and budget, on the same questions.

    Framed: shown by the sign-flip test, Holm-corrected over all cells of the dataset. Hatched: the median request is
    over the budget, so the gain is bought.
    """
    summary, comparisons = without_oracle(summary), without_oracle(comparisons)
    controllers = in_order(summary["controller"])
    baseline = baseline_of(controllers)
    rows = [name for name in controllers if name != baseline]
    figure, panels = panel_grid(summary["dataset"], row_in=0.6 + 0.19 * max(1, len(rows)))
    paired = comparisons[(comparisons["other"] == baseline) & (comparisons["budget"] != ALL_BUDGETS)]
    for place, (dataset, axes) in enumerate(panels.items()):
        cells, pairs = (table[table["dataset"] == dataset] for table in (summary, paired))
        _matrix(axes, cells, pairs, rows, TwoSlopeNorm(0.0, -_FULL_COLOR_POINTS, _FULL_COLOR_POINTS))
        axes.set_title(dataset)
        axes.set_yticks(range(len(rows)), rows if place % COLUMNS == 0 else [""] * len(rows))
    handles = [
        Patch(color=style.BLUE, label=f"more accurate than {baseline}"),
        Patch(color=style.ORANGE, label="less accurate"),
        Patch(
            facecolor="white", edgecolor="black", linewidth=1.2, label=f"shown (Holm-corrected p < {SIGNIFICANCE:g})"
        ),
        Patch(facecolor="white", edgecolor=style.GREY, hatch="/////", linewidth=0, label="median over the budget"),
    ]
    legend_below(figure, handles, handlelength=1.2)
    return style.save(figure, path)


@styled
def hypervolume(hypervolumes: pd.DataFrame, path: str | Path) -> Figure:
    """Accuracy at hand on average over all latency limits up to the highest budget, with 95 % intervals by image.

    The baseline's value is the vertical line, the oracle's a dashed one: the upper bound. Filled: the paired interval
    of the difference to the baseline excludes 0.
    """
    controllers = in_order(without_oracle(hypervolumes)["controller"])
    baseline = baseline_of(controllers)
    figure, panels = panel_grid(hypervolumes["dataset"], row_in=0.75 + 0.17 * len(controllers))
    for place, (dataset, axes) in enumerate(panels.items()):
        table = hypervolumes[hypervolumes["dataset"] == dataset].set_index("controller")
        axes.axvline(100 * table.loc[baseline, "hypervolume"], color=look(baseline).color, linewidth=0.8)
        if ORACLE in table.index:
            axes.axvline(100 * table.loc[ORACLE, "hypervolume"], **style.UPPER_BOUND)
        for row, controller in enumerate(controllers):
            if controller not in table.index:
                continue
            one, shape = table.loc[[controller]], look(controller)
            shown = controller == baseline or not one["gain_low"].item() <= 0 <= one["gain_high"].item()
            axes.errorbar(
                100 * one["hypervolume"],
                [row],
                xerr=100 * error_bars(one, "hypervolume"),
                color=shape.color,
                linestyle="",
                elinewidth=1.2,
                **(shape.filled if shown else shape.hollow),
            )
        axes.set_yticks(range(len(controllers)), controllers if place % COLUMNS == 0 else [""] * len(controllers))
        axes.set_ylim(len(controllers) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_title(dataset)
        axes.set_xlabel("Hypervolume (% of the whole)")
    looks = {"color": style.EDGE, "marker": "o", "markersize": 4, "linewidth": 1.2}
    handles = [
        Line2D([], [], color=look(baseline).color, linewidth=0.8, label=baseline),
        Line2D([], [], label=f"differs from {baseline} (paired 95 % interval)", **looks),
        Line2D([], [], mfc="white", label="not told apart from it", **looks),
    ]
    handles += upper_bound_handle(hypervolumes)
    legend_below(figure, handles)
    return style.save(figure, path)


def _matrix(axes: Axes, cells: pd.DataFrame, pairs: pd.DataFrame, rows: Sequence[str], norm: TwoSlopeNorm) -> None:
    budgets = budgets_of(cells)
    over = cells.assign(over=misses_budget(cells)).set_index(["controller", "budget"])["over"]
    small = 5.5 if len(budgets) <= 6 else 4.5
    for pair, p in zip(pairs.itertuples(), holm(pairs["accuracy_p"]), strict=True):
        x, y, points = budgets.index.get_loc(pair.budget), rows.index(pair.controller), 100 * pair.accuracy_gain
        color = _WORSE_BETTER(norm(points))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor="white", linewidth=0.5))
        if over[pair.controller, pair.budget]:
            hatch = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=style.GREY, hatch="/////", linewidth=0)
            axes.add_patch(hatch)
        if p < SIGNIFICANCE:
            axes.add_patch(Rectangle((x - 0.44, y - 0.42), 0.88, 0.84, fill=False, edgecolor="black", linewidth=1.0))
        dark = np.dot(matplotlib.colors.to_rgb(color), (0.3, 0.59, 0.11)) < 0.45
        face = {"facecolor": color, "edgecolor": "none", "pad": 0.6}  # keeps the number legible on hatching
        text = f"{points:+.1f}" if abs(points) >= 0.05 else "0"
        axes.text(x, y, text, ha="center", va="center", fontsize=small, color="white" if dark else "black", bbox=face)
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xticks(range(len(budgets)), budget_ticks(budgets), fontsize=5.5 if len(budgets) <= 6 else 5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    percent = any(budget.endswith("pct") for budget in budgets.index)
    axes.set_xlabel("Budget (% of the full config; ms)" if percent else "Budget (ms)")
