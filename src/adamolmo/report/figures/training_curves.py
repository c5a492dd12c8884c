"""How the learned controllers were trained."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamolmo.report.figures.panels import columns, controller_handles, legend_below
from adamolmo.report.figures.style import in_order, look, styled

_MEASURES = {
    "reward": ("Reward", 1),
    "accuracy": ("Accuracy (%)", 100),
    "violation_rate": ("Requests over budget (%)", 100),
    "entropy": ("Policy entropy (nats)", 1),
}


@styled
def draw(training: Mapping[str, pd.DataFrame], width: float) -> Figure:
    """Reward, accuracy, violation rate and policy entropy against the training step of each learned controller,
    long logs as running means.

    `training` maps a controller to its training log: step, reward, accuracy, violation_rate, entropy.
    """
    controllers = in_order(training)
    across = 2 if columns(3, width) == 1 else len(_MEASURES)
    rows = len(_MEASURES) // across
    figure = Figure(figsize=(width, 1.4 * rows + 0.2))
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, (column, (label, scale)) in zip(panels, _MEASURES.items(), strict=True):
        for place, controller in enumerate(controllers):
            log, shape = training[controller], look(controller)
            series = log[column] * scale
            smooth = series.rolling(max(1, len(series) // 10), center=True, min_periods=1).mean()
            every = max(1, len(series) // 4)
            markers = shape.filled | {"markersize": 3.0, "markevery": (place * every // len(controllers), every)}
            axes.plot(log["step"], smooth, **shape.line, **markers)
        axes.set_title(label, fontsize=7)
        axes.set_xlabel("Step")
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y")
    legend_below(figure, controller_handles(controllers), controllers)
    return figure
