"""What controllers do with a budget: how often they miss it, and which knobs they choose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamolmo.controllers.roles import without_oracle
from adamolmo.evaluation.summary import keeps_p95, static_configs, tiers_by_cost
from adamolmo.knobs import KnobConfig
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import (
    COLUMNS,
    budget_name,
    budget_ticks,
    budgets_of,
    label_outer,
    legend_below,
    panel_grid,
)
from adamolmo.report.figures.style import in_order, look, styled

_KNOB_COLORS = {"tier": style.BLUE, "top_k": style.VERMILLION, "num_active_blocks": style.GREEN}
_KNOB_TITLES = {"tier": "tier", "top_k": "top-k", "num_active_blocks": "blocks"}
_P95_LINE = {"color": style.GREY, "linewidth": 0.6, "linestyle": (0, (4, 2))}
_CROSS = {"color": style.EDGE, "marker": "x", "markersize": 3.2, "markeredgewidth": 0.7, "linestyle": "none"}
_STRIP = 0.78  # share of a controller's row that its rates from 0 to 100 % take
_ROW_HEIGHT = 0.82  # of a controller's bars, so that rows one unit apart do not touch


@styled
def violations(summary: pd.DataFrame, path: str | Path) -> Figure:
    """Share of requests over the budget with 95 % Clopper-Pearson bounds, one strip from 0 to 100 % per controller.
    The scale is the square root of the rate, so that the 5 % that matter are visible.

    Filled: 'the p95 is within the budget' is shown with 99 % confidence. Shaded: no static config meets the budget.
    Cross: the rate at the profile's speed, where the device was not as fast.
    """
    summary = without_oracle(summary)
    controllers, uneven = in_order(summary["controller"]), (summary["slowdown"] != 1).any()
    figure, panels = panel_grid(summary["dataset"], row_in=0.65 + 0.34 * len(controllers))
    for place, (dataset, axes) in enumerate(panels.items()):
        cells = summary[summary["dataset"] == dataset]
        budgets = budgets_of(cells)
        for x, infeasible in enumerate(~budgets["feasible"]):
            if infeasible:
                axes.axvspan(x - 0.5, x + 0.5, color=style.ALARM, linewidth=0)
        for row, controller in enumerate(controllers):
            _strip(axes, row, controller, cells[cells["controller"] == controller], budgets)
        axes.set_xticks(range(len(budgets)), budget_ticks(budgets), fontsize=5.5)
        axes.set_xlim(-0.5, len(budgets) - 0.5)
        axes.set_ylim(len(controllers) - 0.5, -0.5)
        axes.set_yticks(range(len(controllers)), controllers if place % COLUMNS == 0 else [""] * len(controllers))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title(dataset)
    percent = summary["budget"].str.endswith("pct").any()
    label_outer(panels, "Budget (% of the full config; ms)" if percent else "Budget (ms)", "")
    looks = {"color": style.EDGE, "marker": "o", "markersize": 3.5, "linewidth": 0.8}
    handles = [
        Line2D([], [], label="requests over budget, bounds 95 %; strip: 0 to 100 %, root scale", mfc="white", **looks),
        Line2D([], [], label="filled: p95 within the budget, 99 % confidence", **looks),
        *([Line2D([], [], label="had the device been as fast as during the profile", **_CROSS)] if uneven else []),
        Line2D([], [], label="5 %", **_P95_LINE),
        Patch(color=style.ALARM, label="budget that no static config meets"),
    ]
    legend_below(figure, handles)
    return style.save(figure, path)


@styled
def knob_distribution(summary: pd.DataFrame, profile: pd.DataFrame, path: str | Path) -> Figure:
    """How often each controller that decides chose each value of each knob, against the budget: stacked shares."""
    summary, configs = without_oracle(summary), static_configs(profile)
    values = {"tier": tiers_by_cost(configs)} | {
        knob: sorted(configs[knob].unique().tolist()) for knob in ("top_k", "num_active_blocks")
    }
    colors = {knob: dict(zip(v, style.shades(_KNOB_COLORS[knob], len(v)), strict=True)) for knob, v in values.items()}
    controllers = [name for name in in_order(summary["controller"]) if not name.startswith("static-")]
    figure, panels = panel_grid(summary["dataset"], row_in=0.8 + 0.36 * max(1, len(controllers)))
    for place, (dataset, axes) in enumerate(panels.items()):
        _stacked_shares(axes, summary[summary["dataset"] == dataset], controllers, colors)
        axes.set_title(dataset, pad=13)
        axes.set_xlabel("Budget (each bar: all requests)")
        names = controllers if place % COLUMNS == 0 else [""] * len(controllers)
        axes.set_yticks(_ROW_HEIGHT / 2 + np.arange(len(controllers)), names)
    legend_below(
        figure,
        [Patch(color=colors[knob][v], label=_knob_value(knob, v)) for knob in values for v in values[knob]],
        handlelength=0.8,
        handletextpad=0.4,
        columnspacing=1.0,
    )
    return style.save(figure, path)


def _strip(axes: Axes, row: int, controller: str, cells: pd.DataFrame, budgets: pd.DataFrame) -> None:
    shape, cells = look(controller), cells.sort_values("budget_ms")

    def height(rate):
        return row + _STRIP * (0.5 - np.sqrt(rate))  # the axis points down

    axes.axhspan(height(0), height(1), color="#F2F2F2", linewidth=0, zorder=0.2, alpha=0.7)
    axes.axhline(height(0.05), **_P95_LINE, zorder=0.5)
    x = budgets.index.get_indexer(cells["budget"])
    middle, low, high = (height(cells[f"violation_rate{end}"]) for end in ("", "_low", "_high"))
    bars = np.stack([middle - high, low - middle]).clip(0)
    axes.errorbar(x, middle, yerr=bars, color=shape.color, linewidth=0.5, elinewidth=1.4, zorder=2)
    for at, y, kept in zip(x, middle, keeps_p95(cells), strict=True):  # the row names the controller: a dot is enough
        face = shape.color if kept else "white"
        axes.plot(at, y, "o", mfc=face, mec=shape.color, mew=0.7, markersize=2.6, zorder=3)
    uneven = (cells["slowdown"] != 1).to_numpy()
    axes.plot(x[uneven], height(cells["violation_rate_at_profile_speed"])[uneven], **_CROSS, zorder=3.5)


def _stacked_shares(
    axes: Axes, cells: pd.DataFrame, controllers: Sequence[str], colors: Mapping[str, Mapping[object, str]]
) -> None:
    """One row per controller, one group of bars per knob, one bar per budget; full height is all requests."""
    budgets = list(budgets_of(cells).index)
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
    axes.set_xticks(ticks, [budget_name(b) if i % every == 0 else "" for i, b in enumerate(budgets)] * len(colors))
    axes.tick_params(axis="x", rotation=90, labelsize=5.5)
    axes.tick_params(length=0, pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.margins(x=0.01)
    axes.set_ylim(len(controllers) - 1 + _ROW_HEIGHT, 0)


def _knob_value(knob: str, value: object) -> str:
    return {"tier": f"{value}", "top_k": f"k{value}", "num_active_blocks": f"b{value}"}[knob]
