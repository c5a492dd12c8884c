"""Which knobs controllers choose at each budget."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adamolmo.controllers.roles import heeds_budget, without_oracle
from adamolmo.knobs import KnobConfig
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import legend_below, name_rows, panel_grid
from adamolmo.report.figures.style import in_order, styled
from adamolmo.report.results import budget_name, budgets_of, knob_values

_COLORS = {"tier": style.BLUE, "top_k": style.VERMILLION, "num_active_blocks": style.GREEN}
_TITLES = {"tier": "tier", "top_k": "top-k", "num_active_blocks": "blocks"}
_LETTERS = {"tier": "", "top_k": "k", "num_active_blocks": "b"}  # as in the name of a config, before the value
_NAMES_ACROSS = 7  # more names of budgets in a group would touch
_ROW_HEIGHT = 0.82  # of a controller's bars, so that rows one unit apart do not touch


@styled
def draw(summary: pd.DataFrame, profile: pd.DataFrame, width: float) -> Figure:
    """How often each controller that decides chose each value of each knob, against the budget: stacked shares."""
    summary = without_oracle(summary)
    colors = {
        knob: dict(zip(values, style.shades(_COLORS[knob], len(values)), strict=True))
        for knob, values in knob_values(profile).items()
    }
    controllers = list(filter(heeds_budget, in_order(summary["controller"])))
    figure, panels = panel_grid(summary["dataset"], row_in=0.95 + 0.27 * max(1, len(controllers)), width=width)
    for dataset, axes in panels.items():
        _stacked_shares(axes, summary[summary["dataset"] == dataset], controllers, colors)
        axes.set_title(dataset, pad=13)
        axes.set_xlabel("Budget (each bar: all requests)")
    name_rows(panels.values(), controllers, first=_ROW_HEIGHT / 2)
    handles = [
        Patch(color=color, label=f"{_LETTERS[knob]}{value}")
        for knob, shades in colors.items()
        for value, color in shades.items()
    ]
    spacing = {"handlelength": 0.8, "handletextpad": 0.4, "columnspacing": 1.0}
    legend_below(figure, handles, controllers, **spacing)
    return figure


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
            some = height > 0
            axes.bar(np.tile(x, len(controllers))[some], -height[some], bottom=foot[some], width=0.85, color=color)
            foot = foot - height
        above = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "ha": "center"}
        axes.annotate(_TITLES[knob], (x.mean(), 1), (0, 3), **above)
    every = -(-len(budgets) // _NAMES_ACROSS)
    axes.set_xticks(ticks, [budget_name(b) if i % every == 0 else "" for i, b in enumerate(budgets)] * len(colors))
    axes.tick_params(axis="x", rotation=90, labelsize=style.TEXT_PT)
    axes.tick_params(length=0, pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.margins(x=0.01)
    axes.set_ylim(len(controllers) - 1 + _ROW_HEIGHT, 0)
