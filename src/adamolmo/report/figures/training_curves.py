"""How the learned controllers were trained."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adamolmo.report.figures import style
from adamolmo.report.figures.panels import legend_below
from adamolmo.report.figures.style import PAGE_IN, in_order, look, styled


@styled
def draw(training: Mapping[str, pd.DataFrame], path: str | Path) -> Figure:
    """Reward, accuracy, violation rate and policy entropy against the training step of each learned controller.

    `training` maps a controller to its training log: step, reward, accuracy, violation_rate, entropy.
    """
    figure = Figure(figsize=(PAGE_IN, 1.85))
    measures = {
        "reward": ("Reward", 1),
        "accuracy": ("Accuracy (%)", 100),
        "violation_rate": ("Requests over budget (%)", 100),
        "entropy": ("Policy entropy (nats)", 1),
    }
    for axes, (column, (label, scale)) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
        for controller in in_order(training):
            log, shape = training[controller], look(controller)
            series = log[column] * scale
            smooth = series.rolling(max(1, len(series) // 10), center=True, min_periods=1).mean()
            axes.plot(log["step"], series, color=shape.color, linewidth=0.4, alpha=0.35)
            axes.plot(log["step"], smooth, color=shape.color, linestyle=shape.linestyle)
        axes.set_title(label, fontsize=7)
        axes.set_xlabel("Step")
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y")
    handles = [Line2D([], [], color=look(c).color, linestyle=look(c).linestyle, label=c) for c in in_order(training)]
    legend_below(
        figure,
        [*handles, Line2D([], [], color=style.GREY, linewidth=0.4, label="thin: every step; thick: running mean")],
    )
    return style.save(figure, path)
