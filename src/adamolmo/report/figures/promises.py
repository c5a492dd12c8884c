"""How governors keep what budgets promise, request by request."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.budgets import ALLOWED_LATE, Budget
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import legend_below
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import budgets_of

_PROMISE = {"color": style.GREY, "linewidth": 0.8, "linestyle": (0, (4, 2))}


@styled
def draw(streams: pd.DataFrame, path: str | Path) -> Figure:
    """A row per promised budget, mean over the datasets. On the left the margin in force at every request; on the right
    what has become of the promise up to it: the share of late requests, or the mean latency in percent of the budget.
    """
    controllers, budgets = in_order(streams["controller"]), budgets_of(streams.assign(feasible=True)).index
    figure = Figure(figsize=(style.PAGE_IN, 0.4 + 1.25 * len(budgets)))
    grid = figure.subplots(len(budgets), 2, squeeze=False, sharex=True)
    for (left, right), budget in zip(grid, budgets, strict=True):
        _row(left, right, streams[streams["budget"] == budget], Budget.parse(budget), controllers)
    for axes in grid[-1]:
        axes.set_xlabel("Request")
    handles = [
        Line2D([], [], color=look(name).color, linestyle=look(name).linestyle, label=name) for name in controllers
    ]
    legend_below(figure, [*handles, Line2D([], [], label="promised", **_PROMISE)])
    return style.save(figure, path)


def _row(left: Axes, right: Axes, streams: pd.DataFrame, budget: Budget, controllers: list[str]) -> None:
    on_average = budget.promise == "mean"
    kept = streams["latency_ms"] / streams["budget_ms"] if on_average else ~streams["budget_met"]
    streams = streams.assign(kept_pct=100 * kept.astype(float))
    for name in controllers:
        of_request = streams[streams["controller"] == name].groupby("request")[["margin", "kept_pct"]].mean()
        if of_request.empty:
            continue
        looks = {"color": look(name).color, "linestyle": look(name).linestyle, "linewidth": 1.0}
        left.plot(of_request.index, of_request["margin"], **looks)
        so_far = of_request["kept_pct"].cumsum() / np.arange(1, len(of_request) + 1)
        right.plot(of_request.index, so_far, **looks)
    right.axhline(100 if on_average else 100 * ALLOWED_LATE[budget.promise], **_PROMISE)
    left.set_ylabel(f"{budget.label(short=True)}\nmargin")
    right.set_ylabel("Latency so far\n(% of budget)" if on_average else "Late so far (%)")
