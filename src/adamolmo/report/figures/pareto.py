"""The result: accuracy against latency, and how far each controller is above or below the baseline table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adamolmo.controllers.roles import ORACLE, baseline_of, heeds_budget, without_oracle
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.comparison import ALL_BUDGETS
from adamolmo.evaluation.summary import full_latency_ms, misses_budget, static_configs
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import COLUMNS, circle, error_bars, legend_below, name_rows, upper_bound_handle
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of, over_baseline, over_budget
from adamolmo.statistics.pareto import frontier

_CLOUD = "#C4C4C4"
_MARKS = {
    "none": {"marker": "x", "color": style.VERMILLION, "linestyle": "", "markersize": 4},
    "all": {"marker": "o", "color": "white", "mec": style.GREY, "linestyle": "", "markersize": 4},
}
_ROW_IN = 0.17  # of one controller in the lower panels


@styled
def draw(summary: pd.DataFrame, profile: pd.DataFrame, comparisons: pd.DataFrame, path: str | Path) -> Figure:
    """Above, accuracy against median latency: static configs, their frontier, each controller over its budgets.

    The band is the 95 % interval of the baseline, the dashed line the oracle. Below, on the same questions, each
    controller's accuracy less the baseline's: mean over the feasible budgets with its paired 95 % interval, and as dots
    every budget.

    Args:
        summary: the table `summary`; profile: rows of core_exp; comparisons: the table `comparisons`.

    Raises AdaMolmoError when a dataset has no profile.
    """
    configs, controllers = static_configs(profile), in_order(without_oracle(summary)["controller"])
    baseline = baseline_of(controllers)
    paired = over_baseline(comparisons, baseline)
    datasets = sorted(summary["dataset"].unique())
    figure, panels = _pairs_of_panels(datasets, len(controllers))
    for dataset, (above, below) in panels.items():
        grid = configs[configs["dataset"] == dataset]
        if grid.empty:
            raise AdaMolmoError(f"Dataset '{dataset}' is in the summary but not in the profile; expected its core_exp.")
        cells = summary[summary["dataset"] == dataset]
        _static_cloud(above, grid)
        _band(above, cells[cells["controller"] == baseline], baseline)
        _upper_bound(above, cells[cells["controller"] == ORACLE])
        for controller in controllers[::-1]:  # the first of the legend on top
            _curve(above, cells[cells["controller"] == controller], controller)
        _budget_marks(above, cells, grid)
        above.set_title(dataset, pad=3)
        above.set_xlabel("Median latency (ms)")
        _percent_axis(above, full_latency_ms(grid))
        _gains(below, paired[paired["dataset"] == dataset], cells, controllers, baseline)
        below.set_xlabel(f"Gain over {baseline} (points)")
    for above, _ in list(panels.values())[::COLUMNS]:
        above.set_ylabel("Accuracy (%)")
    rows = [f"{name} (= 0)" if name == baseline else name for name in controllers]
    name_rows((below for _, below in panels.values()), rows)
    legend_below(figure, _handles(baseline) + upper_bound_handle(summary), columnspacing=1.2)
    return style.save(figure, path)


def _pairs_of_panels(datasets: Sequence[str], controllers: int) -> tuple[Figure, dict[str, tuple[Axes, Axes]]]:
    columns = min(len(datasets), COLUMNS)
    rows = -(-len(datasets) // columns)
    heights = (2.35 if rows == 1 else 2.0, 0.35 + _ROW_IN * controllers)
    figure = Figure(figsize=(style.PAGE_IN if columns > 1 else 0.65 * style.PAGE_IN, rows * sum(heights)))
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights * rows)
    pairs = [(grid[2 * row, column], grid[2 * row + 1, column]) for row in range(rows) for column in range(columns)]
    for pair in pairs[len(datasets) :]:
        for axes in pair:
            axes.remove()
    return figure, dict(zip(datasets, pairs, strict=False))


def _static_cloud(axes: Axes, grid: pd.DataFrame) -> None:
    x, y = grid["latency_ms"].to_numpy(), 100 * grid["accuracy"].to_numpy()
    best = frontier(x, y)
    axes.plot(x, y, "o", color=_CLOUD, markersize=2.4, mew=0, zorder=1)
    axes.plot(x[best], y[best], color=style.GREY, linewidth=0.9, drawstyle="steps-post", zorder=1.1)


def _band(axes: Axes, cells: pd.DataFrame, baseline: str) -> None:
    cells = cells.sort_values("latency_p50_ms")
    low, high = 100 * cells["accuracy_low"], 100 * cells["accuracy_high"]
    axes.fill_between(
        cells["latency_p50_ms"], low, high, color=look(baseline).color, alpha=0.1, linewidth=0, zorder=0.9
    )


def _upper_bound(axes: Axes, cells: pd.DataFrame) -> None:
    cells = cells.sort_values(["budget_ms", "budget"])
    axes.plot(cells["latency_p50_ms"], 100 * cells["accuracy"], **style.UPPER_BOUND, zorder=1.9)


def _curve(axes: Axes, cells: pd.DataFrame, controller: str) -> None:
    """The cells of one controller by rising budget; one that ignores the budget is one point, at its median."""
    shape, cells = look(controller), cells.sort_values(["budget_ms", "budget"])
    if not heeds_budget(controller):
        axes.plot(cells["latency_p50_ms"].median(), 100 * cells["accuracy"].mean(), **shape.filled, zorder=3)
        return
    x, y, over = cells["latency_p50_ms"], 100 * cells["accuracy"], misses_budget(cells)
    axes.plot(x, y, color=shape.color, linestyle=shape.linestyle, linewidth=0.8, zorder=2)
    axes.plot(x[~over], y[~over], linestyle="", **shape.filled, zorder=2.2)
    axes.plot(x[over], y[over], linestyle="", **shape.hollow, zorder=2.1)


def _budget_marks(axes: Axes, cells: pd.DataFrame, grid: pd.DataFrame) -> None:
    """A tick at the foot for every budget; above it a mark where no static config meets it, or every one does."""
    foot = axes.get_xaxis_transform()
    marks = {"none": [], "all": []}
    for budget_ms, feasible in budgets_of(cells).itertuples(index=False):
        axes.plot([budget_ms] * 2, [0, 0.04], transform=foot, color=style.EDGE, linewidth=1.0, zorder=0.8)
        if not feasible:
            marks["none"].append(budget_ms)
        elif budget_ms >= grid["latency_ms"].max():
            marks["all"].append(budget_ms)
    for kind, places in marks.items():
        axes.plot(places, np.full(len(places), 0.08), transform=foot, **_MARKS[kind])


def _percent_axis(axes: Axes, full_ms: float) -> None:
    """The same axis above, in percent of the full config's median latency."""
    above = axes.secondary_xaxis("top", functions=(lambda ms: 100 * ms / full_ms, lambda pct: pct * full_ms / 100))
    above.tick_params(labelsize=5.5, colors=style.GREY, length=1.5, pad=1)
    above.xaxis.set_major_locator(MaxNLocator(5))
    above.set_xlabel("% of the full config", fontsize=5.5, color=style.GREY, labelpad=1.5)
    above.spines["top"].set(visible=True, color=style.GREY)


def _gains(axes: Axes, gains: pd.DataFrame, cells: pd.DataFrame, controllers: Sequence[str], baseline: str) -> None:
    """One row per controller: its gain over all budgets (large, with its interval) and at each (small).

    The intervals set the scale; a single budget beyond it is an arrow at the edge, its number is in `gains`.
    """
    over = over_budget(cells)
    usual = over[baseline].sum()
    means, each = gains[gains["budget"] == ALL_BUDGETS], gains[gains["budget"] != ALL_BUDGETS]
    reach = max([1.0, *(110 * means[f"accuracy_gain{end}"].abs().max() for end in ("_low", "_high") if len(means))])
    axes.axvline(0, color=look(baseline).color, linewidth=0.8, zorder=1)
    for row, controller in enumerate(controllers):
        shape = look(controller)
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        if controller == baseline:
            axes.plot(0, row - 0.12, **shape.filled, zorder=3)
            continue
        mean = means[means["controller"] == controller]
        axes.errorbar(
            100 * mean["accuracy_gain"],
            np.full(len(mean), row - 0.12),
            xerr=100 * error_bars(mean, "accuracy_gain"),
            color=shape.color,
            linestyle="",
            elinewidth=1.3,
            **(shape.hollow if over[controller].sum() > usual else shape.filled),
            zorder=3,
        )
        for cell in each[each["controller"] == controller].itertuples():
            x, beyond = 100 * cell.accuracy_gain, abs(100 * cell.accuracy_gain) > reach
            axes.plot(
                np.clip(x, -0.97 * reach, 0.97 * reach) if beyond else x,
                row + 0.3,
                marker=(">" if x > 0 else "<") if beyond else "o",
                markersize=2.2,
                mew=0.5,
                mec=shape.color,
                mfc="white" if over[controller, cell.budget] else shape.color,
                zorder=2,
            )
    axes.set_ylim(len(controllers) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.grid(axis="x")


def _handles(baseline: str) -> list:
    shape = look(baseline)
    hollow = circle("o") | {"markersize": 4, "mec": style.EDGE}
    return [
        Line2D([], [], linestyle="", marker="o", color=_CLOUD, markersize=3.5, mew=0, label="static configs (profile)"),
        Line2D([], [], color=style.GREY, linewidth=0.9, drawstyle="steps-post", label="their frontier"),
        Patch(color=shape.color, alpha=0.15, linewidth=0, label=f"95 % interval of {baseline}"),
        Line2D([], [], linestyle="", marker="|", color=style.EDGE, markersize=6, mew=1.0, label="budget"),
        Line2D([], [], label="met by no static config", **_MARKS["none"]),
        Line2D([], [], label="met by every one", **_MARKS["all"]),
        Line2D([], [], label="hollow: median over the budget", **hollow),
        Line2D(
            [], [], color=style.EDGE, marker="o", markersize=4, linewidth=1.3, label="mean of the budgets, paired 95 %"
        ),
        Line2D([], [], linestyle="", marker="o", color=style.EDGE, markersize=2.2, label="one budget"),
    ]
