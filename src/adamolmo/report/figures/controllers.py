"""What deciding costs, and how it was learned."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from adamolmo.controllers.roles import without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import circle, legend_below, spread
from adamolmo.report.figures.style import PAGE_IN, in_order, look, styled


@styled
def overhead(summary: pd.DataFrame, path: str | Path) -> Figure:
    """Time that each controller takes to decide, and its share of the request: mean over cells, and every cell."""
    summary = without_oracle(summary)
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
            axes.plot(cells, place + spread(len(cells), 0.2), **circle("o"))
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
    left.set_yticks(range(len(controllers)), controllers)
    right.tick_params(left=False)
    legend_below(
        figure,
        [
            Patch(facecolor=style.LIGHT, edgecolor=style.EDGE, linewidth=0.4, label="mean over all cells"),
            Line2D([], [], label="one dataset and budget", **circle("o")),
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
            smooth = series.rolling(max(1, len(series) // 10), center=True, min_periods=1).mean()
            axes.plot(log["step"], series, color=shape.color, linewidth=0.4, alpha=0.35)
            axes.plot(log["step"], smooth, color=shape.color, linestyle=shape.linestyle)
        axes.set_title(label, fontsize=7)
        axes.set_xlabel("Step")
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y")
    handles = [Line2D([], [], color=look(c).color, linestyle=look(c).linestyle, label=c) for c in in_order(logs)]
    legend_below(
        figure,
        [*handles, Line2D([], [], color=style.GREY, linewidth=0.4, label="thin: every step; thick: running mean")],
    )
    return style.save(figure, path)
