"""The study's figures. Each function draws one figure, writes it as `path`.pdf and `path`.png, and returns it.

`summary` is the table of `summary.collect`; `profile` the rows of the core_exp tables of all datasets together.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adamolmo import plot_style as style
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig
from adamolmo.pareto import frontier
from adamolmo.plot_style import PAGE_IN, in_order, look, styled
from adamolmo.summary import full_latency_ms, static_configs, tiers_by_cost

_KNOB_COLORS = {"tier": style.BLUE, "top_k": style.VERMILLION, "num_active_blocks": style.GREEN}
_KNOB_TITLES = {"tier": "tier", "top_k": "top-k", "num_active_blocks": "blocks"}
_STAGE_COLORS = {"vision_ms": style.BLUE, "prefill_ms": style.ORANGE, "decode_ms": style.GREEN}
_BUDGET_MARKS = {
    "none": {"marker": "x", "color": style.VERMILLION, "linestyle": "", "markersize": 4},
    "all": {"marker": "o", "color": "white", "mec": style.GREY, "linestyle": "", "markersize": 4},
}
_P95_LINE = {"color": style.GREY, "linewidth": 0.7, "linestyle": (0, (4, 2))}
_ROW_HEIGHT = 0.82  # of a controller's bars, so that rows one unit apart do not touch
_MAX_COLUMNS = 3  # panels side by side


@styled
def pareto(summary: pd.DataFrame, profile: pd.DataFrame, path: str | Path) -> Figure:
    """Accuracy against median latency: static configs and their frontier, and each controller over its budgets.

    Error bars are the 95 % intervals of both axes. Raises AdaMolmoError when a dataset has no profile.
    """
    configs = static_configs(profile)
    tiers = tiers_by_cost(configs)
    figure, panels = _panels(summary, row_in=2.7)
    for dataset, axes in panels.items():
        grid = configs[configs["dataset"] == dataset]
        if grid.empty:
            raise AdaMolmoError(f"Dataset '{dataset}' is in the summary but not in the profile; expected its core_exp.")
        cells = summary[summary["dataset"] == dataset]
        _static_cloud(axes, grid, tiers)
        for controller in in_order(cells["controller"]):
            one = cells[cells["controller"] == controller].sort_values("budget_ms")
            _curve(axes, one["latency_p50_ms"], one, controller, "accuracy", _bars(one, "latency_p50_ms"))
            _white_markers(axes, one[one["latency_p50_ms"] > one["budget_ms"]], controller)
        _budget_marks(axes, cells, grid)
        axes.set_title(dataset, pad=3)
        _percent_axis(axes, full_latency_ms(grid))
    _label_outer(panels, "Median latency of a request (ms)", "Accuracy (%)")
    _legend(figure, _pareto_handles(summary, tiers))
    return style.save(figure, path)


@styled
def knob_distribution(summary: pd.DataFrame, profile: pd.DataFrame, path: str | Path) -> Figure:
    """How often each controller that decides chose each value of each knob, against the budget: stacked shares."""
    configs = static_configs(profile)
    values = {"tier": tiers_by_cost(configs)} | {
        knob: sorted(configs[knob].unique().tolist()) for knob in ("top_k", "num_active_blocks")
    }
    colors = {knob: dict(zip(v, style.shades(_KNOB_COLORS[knob], len(v)), strict=True)) for knob, v in values.items()}
    controllers = [name for name in in_order(summary["controller"]) if not name.startswith("static-")]
    datasets = sorted(summary["dataset"].unique())
    figure = Figure(figsize=(PAGE_IN, 0.8 + 0.42 * max(1, len(controllers))))
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        _stacked_shares(axes, summary[summary["dataset"] == dataset], controllers, colors)
        axes.set_title(dataset, pad=13)
        axes.set_xlabel("Budget (each bar: all requests)")
    panels[0].set_yticks(_ROW_HEIGHT / 2 + np.arange(len(controllers)), controllers)
    _legend(
        figure,
        [Patch(color=colors[knob][v], label=_knob_value(knob, v)) for knob in values for v in values[knob]],
        handlelength=0.8,
        handletextpad=0.4,
        columnspacing=1.0,
    )
    return style.save(figure, path)


@styled
def violations(summary: pd.DataFrame, path: str | Path) -> Figure:
    """Share of requests over the budget, with 95 % Clopper-Pearson bounds; shaded: no static config meets it."""
    figure, panels = _panels(summary, row_in=2.1)
    controllers = in_order(summary["controller"])
    dodge = dict(zip(controllers, _spread(len(controllers), 0.3), strict=True))
    for dataset, axes in panels.items():
        cells = summary[summary["dataset"] == dataset]
        budgets = _budgets(cells)
        for place, infeasible in enumerate(~budgets["feasible"]):
            if infeasible:
                axes.axvspan(place - 0.5, place + 0.5, color=style.ALARM, linewidth=0)
        axes.axhline(5, **_P95_LINE)
        for controller in in_order(cells["controller"]):
            one = cells[cells["controller"] == controller].sort_values("budget_ms")
            x = one["budget"].map(budgets.index.get_loc) + dodge[controller]
            _curve(axes, x, one, controller, "violation_rate")
        axes.set_xticks(range(len(budgets)), _budget_ticks(budgets))
        axes.set_xlim(-0.5, len(budgets) - 0.5)
        axes.set_ylim(-4, 104)
        axes.grid(axis="y")
        axes.set_title(dataset)
    percent = summary["budget"].str.endswith("pct").any()
    _label_outer(panels, "Budget (% of the full config; ms)" if percent else "Budget (ms)", "Requests over budget (%)")
    extra = [
        Line2D([], [], label="5 %: the p95 meets the budget", **_P95_LINE),
        Patch(color=style.ALARM, label="budget that no static config meets"),
    ]
    _legend(figure, [_handle(name) for name in controllers] + extra)
    return style.save(figure, path)


@styled
def overhead(summary: pd.DataFrame, path: str | Path) -> Figure:
    """Time that each controller takes to decide, and its share of the request: mean over cells, and every cell."""
    controllers = in_order(summary["controller"])[::-1]
    figure = Figure(figsize=(PAGE_IN, 0.5 + 0.2 * len(controllers)))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, label in [
        (left, "controller_ms", "Controller time (ms per request)"),
        (right, "controller_share_pct", "Controller's share of the request (%)"),
    ]:
        for place, controller in enumerate(controllers):
            cells = summary.loc[summary["controller"] == controller, column]
            axes.barh(
                place, cells.mean(), height=0.62, color=look(controller).color, edgecolor=style.EDGE, linewidth=0.4
            )
            axes.plot(cells, place + _spread(len(cells), 0.2), **_circle("o"))
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
    left.set_yticks(range(len(controllers)), controllers)
    right.tick_params(left=False)
    _legend(
        figure,
        [
            Patch(facecolor=style.LIGHT, edgecolor=style.EDGE, linewidth=0.4, label="mean over all cells"),
            Line2D([], [], label="one dataset and budget", **_circle("o")),
        ],
    )
    return style.save(figure, path)


@styled
def training_curves(logs: Mapping[str, pd.DataFrame], path: str | Path) -> Figure:
    """Reward, accuracy, violation rate and policy entropy against the training step of each learned controller.

    `logs` maps a controller to its training log: step, reward, accuracy, violation_rate, entropy.
    """
    figure = Figure(figsize=(PAGE_IN, 1.85))
    measures = {
        "reward": ("Reward", 1),
        "accuracy": ("Accuracy (%)", 100),
        "violation_rate": ("Requests over budget (%)", 100),
        "entropy": ("Policy entropy (nats)", 1),
    }
    for axes, (column, (label, scale)) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
        for controller in in_order(logs):
            log, shape = logs[controller], look(controller)
            series = log[column] * scale
            smooth = series.rolling(max(1, len(series) // 25), center=True, min_periods=1).mean()
            axes.plot(log["step"], series, color=shape.color, linewidth=0.4, alpha=0.35)
            axes.plot(log["step"], smooth, color=shape.color, linestyle=shape.linestyle)
        axes.set_title(label, fontsize=7)
        axes.set_xlabel("Step")
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y")
    handles = [Line2D([], [], color=look(c).color, linestyle=look(c).linestyle, label=c) for c in in_order(logs)]
    _legend(
        figure,
        [*handles, Line2D([], [], color=style.GREY, linewidth=0.4, label="thin: every step; thick: running mean")],
    )
    return style.save(figure, path)


@styled
def stage_times(profile: pd.DataFrame, path: str | Path) -> Figure:
    """Mean time of each stage for every static config, stacked; one row per dataset."""
    configs = static_configs(profile)
    datasets = sorted(configs["dataset"].unique())
    figure = Figure(figsize=(PAGE_IN, 0.6 + 1.05 * len(datasets)))
    rows = figure.subplots(len(datasets), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, dataset in zip(rows, datasets, strict=True):
        grid = configs[configs["dataset"] == dataset].reset_index(drop=True)
        x, bottom = _grouped_places(grid), np.zeros(len(grid))
        for stage, color in _STAGE_COLORS.items():
            axes.bar(x, grid[stage], bottom=bottom, width=1.0, color=color, edgecolor="white", linewidth=0.3)
            bottom += grid[stage].to_numpy()
        axes.set_ylabel(f"{dataset}\nms per request")
        axes.grid(axis="y")
    groups = grid.assign(x=x).groupby(["tier", "top_k"], sort=False, observed=True)["x"].mean()
    rows[-1].set_xticks(groups, [f"k{top_k}" for _, top_k in groups.index])
    rows[-1].set_xlim(x[0] - 1, x[-1] + 1)
    for tier, place in groups.groupby("tier", sort=False, observed=True).mean().items():
        rows[0].text(place, 1.04, f"tier {tier}", transform=rows[0].get_xaxis_transform(), ha="center")
    blocks = sorted(grid["num_active_blocks"].unique())
    rows[-1].set_xlabel(f"top-k; within each group {', '.join(map(str, blocks))} active blocks from left to right")
    for axes in rows:
        axes.tick_params(axis="x", length=0)
    _legend(figure, [Patch(color=c, label=stage.removesuffix("_ms")) for stage, c in _STAGE_COLORS.items()])
    return style.save(figure, path)


@styled
def importance(scores: Mapping[str, object], path: str | Path) -> Figure:
    """Accuracy lost when one block is skipped, for every removable block, over all datasets and per dataset.

    `scores` is the content of `importance/scores.json`; the numbers give the order in which blocks are removed.
    """
    drops = {int(block): 100 * drop for block, drop in scores["scores"].items()}
    blocks, order = sorted(drops), list(scores["removal_order"])
    figure = Figure(figsize=(style.COLUMN_IN, 2.0))
    axes = figure.subplots()
    colors = dict(zip(order, style.shades(style.BLUE, len(order)), strict=True))
    axes.bar(blocks, [drops[b] for b in blocks], color=[colors[b] for b in blocks], edgecolor=style.EDGE, linewidth=0.4)
    marks = dict(zip(scores["datasets"], ("o", "s", "^", "D", "v", "P"), strict=False))
    for dataset, marker in marks.items():
        each = scores["datasets"][dataset]["scores"]
        y = [100 * each[str(block)] for block in blocks]
        axes.plot(blocks, y, **_circle(marker))
    low, high = axes.get_ylim()
    high = max(high, 1.0)
    axes.set_ylim(low, high + 0.12 * (high - low))
    for place, block in enumerate(order, start=1):
        axes.text(block, high + 0.02 * (high - low), place, ha="center", va="bottom", fontsize=6)
    axes.set_xticks(blocks)
    axes.set_xlabel("Skipped block (numbers above: order of removal)")
    axes.set_ylabel("Accuracy lost (points)")
    axes.axhline(0, color="black", linewidth=0.6)
    circles = [Line2D([], [], label=dataset, **_circle(marker)) for dataset, marker in marks.items()]
    _legend(figure, [Patch(facecolor=style.BLUE, label="all"), *circles], handlelength=1.0, columnspacing=1.0)
    return style.save(figure, path)


def _panels(summary: pd.DataFrame, row_in: float) -> tuple[Figure, dict[str, Axes]]:
    """One panel per dataset, at most _MAX_COLUMNS side by side."""
    datasets = sorted(summary["dataset"].unique())
    columns = min(len(datasets), _MAX_COLUMNS)
    rows = -(-len(datasets) // columns)
    figure = Figure(figsize=(PAGE_IN, row_in * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(datasets) :]:
        axes.remove()
    return figure, dict(zip(datasets, grid, strict=False))


def _label_outer(panels: Mapping[str, Axes], x: str, y: str) -> None:
    for place, axes in enumerate(panels.values()):
        axes.set_xlabel(x)
        if place % _MAX_COLUMNS == 0:
            axes.set_ylabel(y)


def _legend(figure: Figure, handles: Sequence, **spacing: float) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its height."""
    spacing = {"columnspacing": 1.5, "handlelength": 2.2, "handletextpad": 0.6} | spacing
    for ncols in range(min(len(handles), 13), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=ncols, **spacing)
        extent = legend.get_window_extent()
        if extent.width <= 0.98 * figure.bbox.width or ncols == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def _handle(controller: str) -> Line2D:
    shape = look(controller)
    return Line2D([], [], color=shape.color, linestyle=shape.linestyle, label=controller, **_marker(controller))


def _marker(controller: str) -> dict[str, object]:
    """A filled marker with a dark edge; an x has no face, so its edge has the colour."""
    shape = look(controller)
    edge = shape.color if shape.marker == "x" else style.EDGE
    size = 7.0 if shape.marker == "*" else 4.0
    return {"marker": shape.marker, "mfc": shape.color, "mec": edge, "mew": 0.4, "markersize": size}


def _circle(marker: str) -> dict[str, object]:
    """A small white marker, alone."""
    return {"marker": marker, "linestyle": "", "color": "white", "mec": style.EDGE, "mew": 0.5, "markersize": 2.6}


def _curve(axes: Axes, x: pd.Series, cells: pd.DataFrame, controller: str, y: str, x_bars: np.ndarray | None = None):
    """One controller's cells, the rate `y` in percent with its interval as error bars."""
    shape = look(controller)
    axes.errorbar(
        x,
        100 * cells[y],
        xerr=x_bars,
        yerr=100 * _bars(cells, y),
        color=shape.color,
        ecolor=(shape.color, 0.6),
        linestyle=shape.linestyle,
        linewidth=0.9,
        elinewidth=0.6,
        **_marker(controller),
    )


def _white_markers(axes: Axes, cells: pd.DataFrame, controller: str) -> None:
    """Covers the markers of `cells` by ones that only have an edge."""
    looks = _marker(controller) | {"mfc": "white", "mec": look(controller).color, "mew": 0.8}
    axes.plot(cells["latency_p50_ms"], 100 * cells["accuracy"], linestyle="", zorder=2.1, **looks)


def _bars(cells: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths of the error bars of a column with `_low` and `_high`: [2, cells]."""
    value = cells[column]
    return np.stack([value - cells[f"{column}_low"], cells[f"{column}_high"] - value]).clip(0)


def _spread(count: int, reach: float) -> np.ndarray:
    return np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)


def _static_cloud(axes: Axes, grid: pd.DataFrame, tiers: Sequence[str]) -> None:
    for tier, color in zip(tiers, style.shades(style.GREY, len(tiers)), strict=True):
        of_tier = grid[grid["tier"] == tier]
        axes.plot(of_tier["latency_ms"], 100 * of_tier["accuracy"], "o", color=color, markersize=2.2, mew=0, zorder=1)
    best = grid.iloc[frontier(grid["latency_ms"], grid["accuracy"])]
    axes.plot(
        best["latency_ms"], 100 * best["accuracy"], color=style.GREY, linewidth=0.9, drawstyle="steps-post", zorder=1
    )


def _budgets(cells: pd.DataFrame) -> pd.DataFrame:
    """budget_ms and feasible by budget, ascending."""
    return cells.groupby("budget", observed=True)[["budget_ms", "feasible"]].first().sort_values("budget_ms")


def _budget_marks(axes: Axes, cells: pd.DataFrame, grid: pd.DataFrame) -> None:
    """A line at every budget; at its foot a mark where no static config meets it, or every one does."""
    marks = {"none": [], "all": []}
    for budget_ms, feasible in _budgets(cells).itertuples(index=False):
        axes.axvline(budget_ms, color=style.LIGHT, linewidth=0.6, zorder=0)
        if not feasible:
            marks["none"].append(budget_ms)
        elif budget_ms >= grid["latency_ms"].max():
            marks["all"].append(budget_ms)
    for kind, places in marks.items():
        axes.plot(places, np.full(len(places), 0.04), transform=axes.get_xaxis_transform(), **_BUDGET_MARKS[kind])


def _percent_axis(axes: Axes, full_ms: float) -> None:
    """The same axis above, in percent of the full config's median latency."""
    above = axes.secondary_xaxis("top", functions=(lambda ms: 100 * ms / full_ms, lambda pct: pct * full_ms / 100))
    above.tick_params(labelsize=5.5, colors=style.GREY, length=1.5, pad=1)
    above.xaxis.set_major_locator(MaxNLocator(5))
    above.set_xlabel("% of the full config", fontsize=5.5, color=style.GREY, labelpad=1.5)
    above.spines["top"].set(visible=True, color=style.GREY)


def _pareto_handles(summary: pd.DataFrame, tiers: Sequence[str]) -> list[Line2D]:
    cloud = [
        Line2D([], [], linestyle="", marker="o", color=color, markersize=3, mew=0, label=f"static configs, {tier} tier")
        for tier, color in zip(tiers, style.shades(style.GREY, len(tiers)), strict=True)
    ]
    return [
        *(_handle(controller) for controller in in_order(summary["controller"])),
        *cloud,
        Line2D([], [], color=style.GREY, linewidth=0.9, drawstyle="steps-post", label="their frontier"),
        Line2D([], [], label="white: over its budget", **_circle("o") | {"markersize": 4}),
        Line2D([], [], linestyle="", marker="|", color=style.GREY, markersize=7, mew=0.6, label="budget"),
        Line2D([], [], label="met by no static config", **_BUDGET_MARKS["none"]),
        Line2D([], [], label="met by every one", **_BUDGET_MARKS["all"]),
    ]


def _stacked_shares(
    axes: Axes, cells: pd.DataFrame, controllers: Sequence[str], colors: Mapping[str, Mapping[object, str]]
) -> None:
    """One row per controller, one group of bars per knob, one bar per budget; full height is all requests."""
    budgets = list(_budgets(cells).index)
    ticks = []
    for group, (knob, shades) in enumerate(colors.items()):
        shares = {value: np.zeros((len(controllers), len(budgets))) for value in shades}
        for cell in cells[cells["controller"].isin(controllers)].itertuples():
            at = controllers.index(cell.controller), budgets.index(cell.budget)
            for config, count in json.loads(cell.knob_counts).items():
                shares[getattr(KnobConfig.parse(config), knob)][at] += count / cell.num_samples
        x = group * (len(budgets) + 0.6) + np.arange(len(budgets))
        ticks.extend(x)
        foot = np.repeat(_ROW_HEIGHT + np.arange(len(controllers)), len(budgets))  # downwards
        for value, color in shades.items():
            height = _ROW_HEIGHT * shares[value].ravel()
            axes.bar(np.tile(x, len(controllers)), -height, bottom=foot, width=0.85, color=color)
            foot = foot - height
        above = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "ha": "center"}
        axes.annotate(_KNOB_TITLES[knob], (x.mean(), 1), (0, 3), **above)
    every = -(-len(budgets) // 6)  # more names than 6 in a group would touch
    axes.set_xticks(ticks, [_budget_name(b) if i % every == 0 else "" for i, b in enumerate(budgets)] * len(colors))
    axes.tick_params(axis="x", rotation=90, labelsize=5.5)
    axes.tick_params(length=0, pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.margins(x=0.01)
    axes.set_ylim(len(controllers) - 1 + _ROW_HEIGHT, 0)


def _knob_value(knob: str, value: object) -> str:
    return {"tier": f"{value}", "top_k": f"k{value}", "num_active_blocks": f"b{value}"}[knob]


def _budget_name(budget: str) -> str:
    return budget.replace("pct", " %").replace("ms", " ms")


def _budget_ticks(budgets: pd.DataFrame) -> list[str]:
    """Milliseconds, below the percentage where one was given."""
    milliseconds = [f"{ms:.3g}" for ms in budgets["budget_ms"]]
    percent = [_budget_name(b) if b.endswith("pct") else "" for b in budgets.index]
    return [f"{p}\n{ms}" for p, ms in zip(percent, milliseconds, strict=True)] if any(percent) else milliseconds


def _grouped_places(grid: pd.DataFrame) -> np.ndarray:
    """Places of bars, sorted as `grid`, with a gap before each new top_k and a wider one before each new tier."""
    new_tier = grid["tier"].ne(grid["tier"].shift()).to_numpy()
    new_group = new_tier | grid["top_k"].ne(grid["top_k"].shift()).to_numpy()
    gaps = np.where(new_tier, 2.5, np.where(new_group, 1.0, 0.0))
    gaps[0] = 0.0
    return np.arange(len(grid)) + np.cumsum(gaps)
