"""What deciding costs."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamolmo.controllers.roles import without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import circle, legend_below, spread
from adamolmo.report.figures.style import in_order, look, styled


@styled
def draw(summary: pd.DataFrame, width: float) -> Figure:
    """Time that each controller takes to decide, and its share of the request: mean over cells, and every cell."""
    summary = without_oracle(summary)
    controllers = in_order(summary["controller"])[::-1]
    figure = Figure(figsize=(width, 0.5 + 0.16 * len(controllers)))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, label in [
        (left, "controller_ms", "Time to\ndecide (ms)"),
        (right, "controller_share_pct", "Share of\nrequest (%)"),
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
        controllers,
    )
    return figure
