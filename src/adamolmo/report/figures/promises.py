"""How governors keep what budgets promise, request by request."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adamolmo.budgets import ALLOWED_LATE, Budget
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import columns, controller_handles, groups_of, legend_below
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of

_PROMISE = {"color": style.GREY, "linewidth": 0.8, "linestyle": (0, (4, 2))}
_WITHOUT_MARGIN = {"color": style.GREY, "linewidth": 0.8}
_SETTLED = 0.15  # share of the requests after which what was kept sets the scale: the first ones swing


@styled
def draw(streams: pd.DataFrame, width: float) -> Figure:
    """Per promised budget, mean over the datasets: what the governor aims at instead of the budget at every request,
    and what has become of the promise up to it: the share of late requests, or the mean latency in percent of the
    budget.

    The governor divides the budget by the machine's slowdown and by 1 + its margin. Grey is the aim without the margin,
    mean over the controllers of the panel.

    The two stand side by side; with many controllers below each other, and the families side by side. The scale of the
    second is that of the later requests; the first ones may leave the panel.
    """
    controllers, budgets = in_order(streams["controller"]), budgets_of(streams.assign(feasible=True)).index
    groups, narrow = groups_of(controllers), columns(3, width) == 1
    rows, across = (len(budgets), 2) if len(groups) == 1 else (2 * len(budgets), len(groups))
    figure = Figure(figsize=(width, 0.4 + (0.8 if narrow or len(groups) > 1 else 1.1) * rows))
    grid = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=False if len(groups) == 1 else "row")
    pairs = grid.reshape(len(budgets), 2, across) if len(groups) > 1 else grid.reshape(len(budgets), 2, 1)
    for (aims, kept), budget in zip(pairs, budgets, strict=True):
        of_budget = streams[streams["budget"] == budget]
        for axes, names in zip(aims, groups.values(), strict=True):
            _aims(axes, of_budget, names)
        _kept(kept, of_budget, Budget.parse(budget), groups.values())
        aims[0].set_ylabel(f"{Budget.parse(budget).label(short=True)}\naim (%)")
    for axes, name in zip(grid[0], [] if narrow else groups, strict=False):  # the colours tell the families apart
        axes.set_title(name, fontsize=style.TEXT_PT)
    for axes in grid[-1]:
        axes.set_xlabel("Request")
        axes.xaxis.set_major_locator(MaxNLocator(2 if len(groups) > 1 else 4, integer=True))
    for axes in grid.ravel():
        axes.yaxis.set_major_locator(MaxNLocator(4))
    lines = {"promised": _PROMISE, "aim without margin": _WITHOUT_MARGIN}
    handles = [Line2D([], [], label=label, **looks) for label, looks in lines.items()]
    legend_below(figure, [*controller_handles(controllers), *handles], controllers)
    return figure


def _aims(axes: Axes, streams: pd.DataFrame, controllers: Iterable[str]) -> None:
    """In percent of the budget."""
    at_this_speed = 100 / streams["slowdown"]
    streams = streams.assign(without_margin=at_this_speed, aim=at_this_speed / (1 + streams["margin"]))
    of_panel = streams[streams["controller"].isin(controllers)]
    axes.plot(of_panel.groupby("request")["without_margin"].mean(), **_WITHOUT_MARGIN)
    _lines(axes, _by_request(streams, controllers, "aim"))


def _by_request(streams: pd.DataFrame, controllers: Iterable[str], column: str) -> dict[str, pd.Series]:
    """Mean over the datasets, by controller."""
    found = {name: streams[streams["controller"] == name] for name in controllers}
    return {name: rows.groupby("request")[column].mean() for name, rows in found.items() if len(rows)}


def _kept(panels: Iterable[Axes], streams: pd.DataFrame, budget: Budget, groups: Iterable[list[str]]) -> None:
    on_average = budget.promise == "mean"
    kept = streams["latency_ms"] / streams["budget_ms"] if on_average else ~streams["budget_met"]
    streams, promised = streams.assign(kept_pct=100 * kept.astype(float)), 100.0
    if not on_average:
        promised = 100 * ALLOWED_LATE[budget.promise]
    settled = [promised]
    panels = list(panels)
    for axes, names in zip(panels, groups, strict=True):
        each = _by_request(streams, names, "kept_pct")
        so_far = {name: rows.cumsum() / np.arange(1, len(rows) + 1) for name, rows in each.items()}
        _lines(axes, so_far)
        axes.axhline(promised, **_PROMISE)
        settled += [value for rows in so_far.values() for value in rows.iloc[int(_SETTLED * len(rows)) :]]
    room = 0.1 * max(np.ptp(settled), 0.5)
    bottom = min(settled) - room
    panels[0].set_ylim(bottom if on_average else max(bottom, 0.0), max(settled) + room)
    for axes in panels[1:]:
        axes.set_ylim(panels[0].get_ylim())
    panels[0].set_ylabel("mean (% of\nbudget)" if on_average else "late so far\n(%)")


def _lines(axes: Axes, values: dict[str, pd.Series]) -> None:
    """Markers name the lines; every controller has them at other requests."""
    for place, (name, rows) in enumerate(values.items()):
        every = max(1, len(rows) // 4)
        markers = look(name).filled | {"markersize": 3.0, "markevery": (place * every // max(1, len(values)), every)}
        axes.plot(rows.index, rows, **look(name).line, **markers, linewidth=0.9)
