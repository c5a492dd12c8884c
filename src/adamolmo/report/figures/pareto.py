"""The result: accuracy against latency, and what each controller gains at equal mean latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from adamolmo.report.figures.panels import (
    circle,
    columns,
    controller_handles,
    error_bars,
    groups_of,
    legend_below,
    name_rows,
    upper_bound_handle,
)
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of, kinds_of

_CLOUD = "#C4C4C4"
_MARKS = {
    "none": {"marker": "x", "color": style.EDGE, "linestyle": "", "markersize": 4},
    "all": {"marker": "o", "color": "white", "mec": style.GREY, "linestyle": "", "markersize": 4},
}
_CURVES_IN, _TILE_IN = 2.0, 1.0  # height of a panel of curves; of one of several, a family each
_ROW_IN = 0.17  # of one controller's gain, below the curves
_GAINS_WIDTH = 0.6  # of the curves', beside them
_ROOM = 0.06  # around what the axes show, as a share of it


@dataclass(frozen=True)
class _Dataset:
    """What is drawn of one dataset.

    Attributes:
        cells: of all controllers; joined: those of the kind of budget whose cells are joined; others: the rest.
        configs: the static configurations on the evaluation questions; frontier: latency and accuracy of the best
            mixtures of two.
    """

    cells: pd.DataFrame
    joined: pd.DataFrame
    others: pd.DataFrame
    configs: pd.DataFrame
    frontier: tuple[np.ndarray, np.ndarray]


@styled
def draw(
    summary: pd.DataFrame, profile: pd.DataFrame, grid: pd.DataFrame, equal_latency: pd.DataFrame, width: float
) -> Figure:
    """Accuracy against mean latency on the evaluation questions: static configs, the best mixtures of two of them, and
    each controller: a line over the budgets of one kind, small markers for those of other kinds. Many controllers have
    a panel per family. The axes show what the controllers reach; static configs beyond are arrows at the edge.

    The band is the 95 % interval of the baseline, the dashed line the oracle. Below, or in one column of a paper
    beside it, each controller's accuracy less that of the best static mixture with the same mean latency: mean over the
    feasible budgets of the line's kind with its paired 95 % interval, and as dots every one of these budgets.

    Args:
        summary, equal_latency: the tables of those names; profile, grid: rows of core_exp, of the profile and of the
            evaluation split.

    Raises AdaMolmoError when a dataset has no profile.
    """
    controllers = in_order(without_oracle(summary)["controller"])
    baseline, kind = baseline_of(controllers), line_kind(summary)
    gains = without_oracle(equal_latency[equal_latency["budget"].map(kind_of) == kind])
    groups = groups_of(controllers)
    figure, panels = _panels(sorted(summary["dataset"].unique()), list(groups), len(controllers), width)
    for dataset, (curves, below) in panels.items():
        found = _dataset(dataset, summary, profile, grid, kind)
        for name, axes in curves.items():
            _accuracy_over_latency(axes, found, groups[name], baseline)
            axes.text(0.97, 0.13, name, transform=axes.transAxes, ha="right", fontsize=style.TEXT_PT)
        first, *more = curves.values()
        first.set_title(dataset, pad=3, loc="left" if more else "center")
        if not more:
            _percent_axis(first, _full_ms(found.cells, found.configs))
        _gains(below, gains[gains["dataset"] == dataset], found.joined, controllers)
    _label(panels, columns(3, width) == 1)
    if columns(3, width) > 1:
        name_rows((below for _, below in panels.values()), controllers)
    several = len(kinds_of(summary)) > 1
    handles = controller_handles(controllers) + upper_bound_handle(summary)
    legend_below(figure, handles + _handles(baseline, kind, several, panels), summary["controller"])
    return figure


def line_kind(cells: pd.DataFrame) -> str:
    """The kind of budget whose cells are joined: the mean, which is what the axis shows, if the study promises it."""
    kinds = kinds_of(cells)
    return "mean" if "mean" in kinds else kinds[0]


def _panels(
    datasets: Sequence[str], groups: Sequence[str], controllers: int, width: float
) -> tuple[Figure, dict[str, tuple[dict[str, Axes], Axes]]]:
    """Per dataset the panels of curves, by group, and that of gains: below them, or beside them if the figure is
    narrow."""
    across, narrow = columns(len(datasets), width), columns(3, width) == 1
    tiles_down, tiles_across = (-(-len(groups) // 2), 2) if len(groups) > 1 else (1, 1)
    tile_in = _TILE_IN if len(groups) > 1 else _CURVES_IN
    heights, widths = [tile_in] * tiles_down, [1.0] * tiles_across
    if narrow:
        widths.append(_GAINS_WIDTH * tiles_across)
    else:
        heights.append(0.35 + _ROW_IN * controllers)
    down = -(-len(datasets) // across)
    figure = Figure(figsize=(width if across > 1 or narrow else 0.65 * width, down * sum(heights)))
    grid = figure.add_gridspec(
        down * len(heights), across * len(widths), height_ratios=heights * down, width_ratios=widths * across
    )
    panels = {}
    for place, dataset in enumerate(datasets):
        top, left = place // across * len(heights), place % across * len(widths)
        curves = {}
        for tile, name in enumerate(groups):
            axes = figure.add_subplot(grid[top + tile // tiles_across, left + tile % tiles_across])
            axes.tick_params(labelleft=tile % tiles_across == 0, labelbottom=tile + tiles_across >= len(groups))
            curves[name] = axes
        of_gains = (
            grid[top : top + len(heights), left + tiles_across]
            if narrow
            else grid[top + tiles_down, left : left + tiles_across]
        )
        panels[dataset] = curves, figure.add_subplot(of_gains)
    return figure, panels


def _label(panels: Mapping[str, tuple[dict[str, Axes], Axes]], narrow: bool) -> None:
    for curves, below in panels.values():
        tiles = list(curves.values())
        for axes in tiles[-2:] if len(tiles) % 2 == 0 else tiles[-1:]:
            axes.set_xlabel("Mean latency (ms)" if len(tiles) == 1 else "Latency (ms)")
        if tiles[0].get_subplotspec().is_first_col():
            for axes in tiles[::2]:
                axes.set_ylabel("Accuracy (%)")
        below.set_xlabel("Gain at equal\nlatency (points)" if narrow else "Gain at equal latency (points)")


def _dataset(dataset: str, summary: pd.DataFrame, profile: pd.DataFrame, grid: pd.DataFrame, kind: str) -> _Dataset:
    learned_from, asked = (rows[rows["dataset"] == dataset] for rows in (profile, grid))
    if learned_from.empty or asked.empty:
        raise AdaMolmoError(f"Dataset '{dataset}' is in the summary but not in the profile; expected its core_exp.")
    cells, configs = summary[summary["dataset"] == dataset], static_configs(asked)
    of_kind = (cells["budget"].map(kind_of) == kind).to_numpy()
    return _Dataset(cells, cells[of_kind], cells[~of_kind], configs, _frontier(learned_from, asked, configs))


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


def _accuracy_over_latency(axes: Axes, found: _Dataset, controllers: Sequence[str], baseline: str) -> None:
    joined, others = found.joined, found.others
    _limits(axes, found, baseline)
    _static_cloud(axes, found.configs, found.frontier)
    _band(axes, joined[joined["controller"] == baseline], baseline)
    _upper_bound(axes, joined[joined["controller"] == ORACLE])
    shown = [*controllers, *({baseline} - {*controllers})]
    for controller in shown[::-1]:  # the first of the legend on top
        _curve(axes, *(rows[rows["controller"] == controller] for rows in (joined, others)), controller)
    _budget_marks(axes, found.cells, found.configs)


def _limits(axes: Axes, found: _Dataset, baseline: str) -> None:
    """So that all cells, budgets and intervals are seen, and the frontier from where the cells begin."""
    cells, (latency_ms, accuracy) = found.cells, found.frontier
    x = [*cells["latency_mean_ms"], *cells["budget_ms"], latency_ms.max()]
    x_room = _ROOM * (max(x) - min(x))
    bounds = found.joined.loc[found.joined["controller"] == baseline, ["accuracy_low", "accuracy_high"]]
    reached = np.interp(max(min(x) - x_room, latency_ms.min()), latency_ms, accuracy)
    y = 100 * np.array([*cells["accuracy"], *bounds.to_numpy().ravel(), reached, accuracy.max()])
    y_room = _ROOM * max(np.ptp(y), 1.0)
    axes.set_xlim(min(x) - x_room, max(x) + x_room)
    axes.set_ylim(y.min() - 2 * y_room, min(y.max() + y_room, 102.0))  # budgets stand at the foot


def _static_cloud(axes: Axes, configs: pd.DataFrame, frontier: tuple[np.ndarray, np.ndarray]) -> None:
    latency_ms, accuracy = frontier
    cloud = {"color": _CLOUD, "linestyle": "", "mew": 0, "zorder": 1}
    x, y = configs["latency_mean_ms"].to_numpy(), 100 * configs["accuracy"].to_numpy()
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    low, fast, slow = y < bottom, x < left, x > right
    axes.plot(x, y, marker="o", markersize=2.4, **cloud)
    for beyond, marker in ((low, "v"), (fast & ~low, "<"), (slow & ~low, ">")):
        if beyond.any():  # the layout would take a line without points for one at the corner of the page
            looks = cloud | {"markersize": 2.8, "clip_on": False}
            axes.plot(x[beyond].clip(left, right), y[beyond].clip(bottom, top), marker=marker, **looks)
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
    axes.plot(x, y, **shape.line, linewidth=0.8, zorder=2)
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
        if places:
            axes.plot(places, np.full(len(places), 0.08), transform=foot, **_MARKS[kind], label=kind)


def _percent_axis(axes: Axes, full_ms: float) -> None:
    """The same axis above, in percent of the full config's median latency."""
    above = axes.secondary_xaxis("top", functions=(lambda ms: 100 * ms / full_ms, lambda pct: pct * full_ms / 100))
    above.tick_params(labelsize=style.TEXT_PT, colors=style.GREY, length=1.5, pad=1)
    above.xaxis.set_major_locator(MaxNLocator(5))
    above.set_xlabel("% of the full config", fontsize=style.TEXT_PT, color=style.GREY, labelpad=1.5)
    above.spines["top"].set(visible=True, color=style.GREY)


def _gains(axes: Axes, gains: pd.DataFrame, cells: pd.DataFrame, controllers: Sequence[str]) -> None:
    """One row per controller: its gain over all budgets of the kind (large, with its interval) and at each (small).

    The intervals set the scale; a single budget beyond it is an arrow at the edge, its number is in `equal_latency`.
    """
    missed = misses_budget(cells).groupby([cells["controller"], cells["budget"]]).any()
    pooled = gains["budget"].isin(KINDS)
    means, each = gains[pooled], gains[~pooled].sort_values("budget")
    lowest, highest = (100 * means[f"gain{end}"] for end in ("_low", "_high"))
    low, high = 1.1 * min([-1.0, *lowest]), 1.1 * max([1.0, *highest])
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
            x, beyond = 100 * cell.gain, not low <= 100 * cell.gain <= high
            axes.plot(
                np.clip(x, 0.97 * low, 0.97 * high) if beyond else x,
                row + 0.3,
                marker=(">" if x > 0 else "<") if beyond else "o",
                markersize=2.2,
                mew=0.5,
                mec=shape.color,
                mfc="white" if missed[controller, cell.budget] else shape.color,
                zorder=2,
            )
    axes.set_ylim(len(controllers) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(low, high)
    axes.grid(axis="x")


def _handles(
    baseline: str, kind: str, several: bool, panels: Mapping[str, tuple[dict[str, Axes], Axes]]
) -> list[Line2D | Patch]:
    dot = {"linestyle": "", "marker": "o", "color": style.EDGE}
    hollow = circle("o") | {"markersize": 4, "mec": style.EDGE}
    over = "mean" if kind == "mean" else "median"
    marked = {line.get_label() for curves, _ in panels.values() for axes in curves.values() for line in axes.lines}
    said = {"none": "no static config meets it", "all": "every one meets it"}
    return [
        Line2D([], [], **dot | {"color": _CLOUD}, markersize=3.5, mew=0, label="static configs"),
        Line2D([], [], color=style.GREY, linewidth=0.9, label="best mixtures of two (gain 0)"),
        Patch(color=look(baseline).color, alpha=0.15, linewidth=0, label=f"95 % interval of {baseline}"),
        Line2D([], [], linestyle="", marker="|", color=style.EDGE, markersize=6, mew=1.0, label="budget"),
        *(Line2D([], [], label=label, **_MARKS[mark]) for mark, label in said.items() if mark in marked),
        Line2D([], [], label=f"hollow: {over} over the budget", **hollow),
        Line2D([], [], **dot | {"linestyle": "-"}, markersize=4, label=f"large: {KINDS[kind]}"),
        Line2D([], [], **dot, markersize=2.2, label="small: other budgets" if several else "small: each budget"),
    ]
