"""The result: accuracy against latency, and what each controller gains at equal mean latency."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adamolmo.budgets import KINDS, Budget, kind_of
from adamolmo.controllers.roles import ORACLE, baseline_of, heeds_budget, without_oracle
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.equal_latency import Static
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.summary import full_latency_ms, misses_budget, static_configs
from adamolmo.files.columns import KNOBS
from adamolmo.knobs import KnobConfig
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import COLUMNS, circle, error_bars, legend_below, name_rows, upper_bound_handle
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of, kinds_of

_CLOUD = "#C4C4C4"
_MARKS = {
    "none": {"marker": "x", "color": style.VERMILLION, "linestyle": "", "markersize": 4},
    "all": {"marker": "o", "color": "white", "mec": style.GREY, "linestyle": "", "markersize": 4},
}
_ROW_IN = 0.17  # of one controller in the lower panels


@styled
def draw(
    summary: pd.DataFrame, profile: pd.DataFrame, grid: pd.DataFrame, equal_latency: pd.DataFrame, path: str | Path
) -> Figure:
    """Above, accuracy against mean latency on the evaluation questions: static configs, the best mixtures of two of
    them, and each controller: a line over the budgets of one kind, small markers for those of other kinds.

    The band is the 95 % interval of the baseline, the dashed line the oracle. Below, each controller's accuracy less
    that of the best static mixture with the same mean latency: mean over the feasible budgets of the line's kind with
    its paired 95 % interval, and as dots every one of these budgets.

    Args:
        summary, equal_latency: the tables of those names; profile, grid: rows of core_exp, of the profile and of the
            evaluation split.

    Raises AdaMolmoError when a dataset has no profile.
    """
    controllers = in_order(without_oracle(summary)["controller"])
    baseline, kind = baseline_of(controllers), line_kind(summary)
    gains = without_oracle(equal_latency[equal_latency["budget"].map(kind_of) == kind])
    datasets = sorted(summary["dataset"].unique())
    figure, panels = _pairs_of_panels(datasets, len(controllers))
    for dataset, (above, below) in panels.items():
        learned_from, asked = (rows[rows["dataset"] == dataset] for rows in (profile, grid))
        if learned_from.empty or asked.empty:
            raise AdaMolmoError(f"Dataset '{dataset}' is in the summary but not in the profile; expected its core_exp.")
        cells, configs = summary[summary["dataset"] == dataset], static_configs(asked)
        of_kind, others = _split(cells, kind)
        _static_cloud(above, configs, _frontier(learned_from, asked, configs))
        _band(above, of_kind[of_kind["controller"] == baseline], baseline)
        _upper_bound(above, of_kind[of_kind["controller"] == ORACLE])
        for controller in controllers[::-1]:  # the first of the legend on top
            _curve(above, *(rows[rows["controller"] == controller] for rows in (of_kind, others)), controller)
        _budget_marks(above, cells, configs)
        above.set_title(dataset, pad=3)
        above.set_xlabel("Mean latency (ms)")
        _percent_axis(above, _full_ms(cells, configs))
        _gains(below, gains[gains["dataset"] == dataset], of_kind, controllers)
        below.set_xlabel("Gain at equal latency (points)")
    for above, _ in list(panels.values())[::COLUMNS]:
        above.set_ylabel("Accuracy (%)")
    name_rows((below for _, below in panels.values()), controllers)
    several = len(kinds_of(summary)) > 1
    legend_below(figure, _handles(baseline, kind, several) + upper_bound_handle(summary), columnspacing=1.2)
    return style.save(figure, path)


def line_kind(cells: pd.DataFrame) -> str:
    """The kind of budget whose cells are joined: the mean, which is what the axis shows, if the study promises it."""
    kinds = kinds_of(cells)
    return "mean" if "mean" in kinds else kinds[0]


def _split(cells: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    member = (cells["budget"].map(kind_of) == kind).to_numpy()
    return cells[member], cells[~member]


def _frontier(learned_from: pd.DataFrame, asked: pd.DataFrame, configs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    knobs = [KnobConfig(*values) for values in configs[[*KNOBS]].itertuples(index=False)]
    return Static.of(*(GridOutcomes.of(rows, knobs) for rows in (learned_from, asked))).frontier


def _full_ms(cells: pd.DataFrame, configs: pd.DataFrame) -> float:
    """What percent budgets refer to; where the study has none, what they would refer to on these questions."""
    for cell in cells.itertuples():
        budget = Budget.parse(cell.budget)
        if budget.unit == "pct":
            return 100 * cell.budget_ms / budget.value
    return full_latency_ms(configs)


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


def _static_cloud(axes: Axes, configs: pd.DataFrame, frontier: tuple[np.ndarray, np.ndarray]) -> None:
    latency_ms, accuracy = frontier
    cloud = {"color": _CLOUD, "markersize": 2.4, "mew": 0}
    axes.plot(configs["latency_mean_ms"], 100 * configs["accuracy"], "o", **cloud, zorder=1)
    axes.plot(latency_ms, 100 * accuracy, color=style.GREY, linewidth=0.9, zorder=1.1)


def _band(axes: Axes, cells: pd.DataFrame, baseline: str) -> None:
    cells = cells.sort_values("latency_mean_ms")
    low, high = 100 * cells["accuracy_low"], 100 * cells["accuracy_high"]
    axes.fill_between(
        cells["latency_mean_ms"], low, high, color=look(baseline).color, alpha=0.1, linewidth=0, zorder=0.9
    )


def _upper_bound(axes: Axes, cells: pd.DataFrame) -> None:
    cells = cells.sort_values(["budget_ms", "budget"])
    axes.plot(cells["latency_mean_ms"], 100 * cells["accuracy"], **style.UPPER_BOUND, zorder=1.9)


def _curve(axes: Axes, joined: pd.DataFrame, others: pd.DataFrame, controller: str) -> None:
    """The cells of one controller, those to be joined by rising budget; one that ignores the budget is one point."""
    shape, joined = look(controller), joined.sort_values(["budget_ms", "budget"])
    if not heeds_budget(controller):
        cells = pd.concat([joined, others])
        axes.plot(cells["latency_mean_ms"].median(), 100 * cells["accuracy"].mean(), **shape.filled, zorder=3)
        return
    x, y, over = joined["latency_mean_ms"], 100 * joined["accuracy"], misses_budget(joined)
    axes.plot(x, y, color=shape.color, linestyle=shape.linestyle, linewidth=0.8, zorder=2)
    axes.plot(x[~over], y[~over], linestyle="", **shape.filled, zorder=2.2)
    axes.plot(x[over], y[over], linestyle="", **shape.hollow, zorder=2.1)
    small = shape.filled | {"markersize": 2.2, "mew": 0.2}
    axes.plot(others["latency_mean_ms"], 100 * others["accuracy"], linestyle="", **small, alpha=0.7, zorder=1.8)


def _budget_marks(axes: Axes, cells: pd.DataFrame, configs: pd.DataFrame) -> None:
    """A tick at the foot for every budget; above it a mark where no static config meets it, or every one does."""
    foot = axes.get_xaxis_transform()
    marks = {"none": [], "all": []}
    for budget_ms, feasible in budgets_of(cells).itertuples(index=False):
        axes.plot([budget_ms] * 2, [0, 0.04], transform=foot, color=style.EDGE, linewidth=1.0, zorder=0.8)
        if not feasible:
            marks["none"].append(budget_ms)
        elif budget_ms >= configs["latency_ms"].max():
            marks["all"].append(budget_ms)
    for kind, places in marks.items():
        axes.plot(places, np.full(len(places), 0.08), transform=foot, **_MARKS[kind])


def _percent_axis(axes: Axes, full_ms: float) -> None:
    """The same axis above, in percent of the full config's median latency."""
    above = axes.secondary_xaxis("top", functions=(lambda ms: 100 * ms / full_ms, lambda pct: pct * full_ms / 100))
    above.tick_params(labelsize=6, colors=style.GREY, length=1.5, pad=1)
    above.xaxis.set_major_locator(MaxNLocator(5))
    above.set_xlabel("% of the full config", fontsize=6, color=style.GREY, labelpad=1.5)
    above.spines["top"].set(visible=True, color=style.GREY)


def _gains(axes: Axes, gains: pd.DataFrame, cells: pd.DataFrame, controllers: Sequence[str]) -> None:
    """One row per controller: its gain over all budgets of the kind (large, with its interval) and at each (small).

    The intervals set the scale; a single budget beyond it is an arrow at the edge, its number is in `equal_latency`.
    """
    missed = misses_budget(cells).groupby([cells["controller"], cells["budget"]]).any()
    pooled = gains["budget"].isin(KINDS)
    means, each = gains[pooled], gains[~pooled].sort_values("budget")
    reach = max([1.0, *(110 * means[f"gain{end}"].abs().max() for end in ("_low", "_high") if len(means))])
    axes.axvline(0, color=style.GREY, linewidth=0.9, zorder=1)
    for row, controller in enumerate(controllers):
        shape = look(controller)
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        mean = means[means["controller"] == controller]
        axes.errorbar(
            100 * mean["gain"],
            np.full(len(mean), row - 0.12),
            xerr=100 * error_bars(mean, "gain"),
            color=shape.color,
            linestyle="",
            elinewidth=1.3,
            **shape.filled,
            zorder=3,
        )
        for cell in each[each["controller"] == controller].itertuples():
            x, beyond = 100 * cell.gain, abs(100 * cell.gain) > reach
            axes.plot(
                np.clip(x, -0.97 * reach, 0.97 * reach) if beyond else x,
                row + 0.3,
                marker=(">" if x > 0 else "<") if beyond else "o",
                markersize=2.2,
                mew=0.5,
                mec=shape.color,
                mfc="white" if missed[controller, cell.budget] else shape.color,
                zorder=2,
            )
    axes.set_ylim(len(controllers) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.grid(axis="x")


def _handles(baseline: str, kind: str, several: bool) -> list:
    shape, dot = look(baseline), {"linestyle": "", "marker": "o", "color": style.EDGE}
    hollow = circle("o") | {"markersize": 4, "mec": style.EDGE}
    over = "mean" if kind == "mean" else "median"
    return [
        Line2D([], [], **dot | {"color": _CLOUD}, markersize=3.5, mew=0, label="static configurations"),
        Line2D([], [], color=style.GREY, linewidth=0.9, label="best mixtures of two of them (= 0 below)"),
        Patch(color=shape.color, alpha=0.15, linewidth=0, label=f"95 % interval of {baseline}"),
        Line2D([], [], linestyle="", marker="|", color=style.EDGE, markersize=6, mew=1.0, label="budget"),
        Line2D([], [], label="met by no static config", **_MARKS["none"]),
        Line2D([], [], label="met by every one", **_MARKS["all"]),
        Line2D([], [], label=f"hollow: {over} over the budget", **hollow),
        Line2D(
            [],
            [],
            **dot | {"linestyle": "-"},
            markersize=4,
            label=f"budgets {KINDS[kind]}; below: their mean, paired 95 %",
        ),
        *([Line2D([], [], **dot, markersize=2.2, label="above: other budgets; below: one budget")] if several else []),
    ]
