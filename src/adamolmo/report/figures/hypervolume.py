"""One number per controller: the area below its frontier."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.controllers.roles import ORACLE, baseline_of, without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import error_bars, legend_below, name_rows, panel_grid, upper_bound_handle
from adamolmo.report.figures.style import in_order, look, styled


@styled
def draw(hypervolumes: pd.DataFrame, width: float) -> Figure:
    """Accuracy at hand on average over all latency limits up to the highest budget, with 95 % intervals by image.

    The baseline's value is the vertical line, the oracle's a dashed one: the upper bound. Filled: the paired interval
    of the difference to the baseline excludes 0.
    """
    controllers = in_order(without_oracle(hypervolumes)["controller"])
    baseline = baseline_of(controllers)
    figure, panels = panel_grid(hypervolumes["dataset"], row_in=0.6 + 0.145 * len(controllers), width=width)
    for dataset, axes in panels.items():
        table = hypervolumes[hypervolumes["dataset"] == dataset].set_index("controller")
        axes.axvline(100 * table.loc[baseline, "hypervolume"], color=look(baseline).color, linewidth=0.8)
        if ORACLE in table.index:
            axes.axvline(100 * table.loc[ORACLE, "hypervolume"], **style.UPPER_BOUND)
        for row, controller in enumerate(controllers):
            if controller not in table.index:
                continue
            one, shape = table.loc[[controller]], look(controller)
            shown = controller == baseline or not one["gain_low"].item() <= 0 <= one["gain_high"].item()
            axes.errorbar(
                100 * one["hypervolume"],
                [row],
                xerr=100 * error_bars(one, "hypervolume"),
                color=shape.color,
                linestyle="",
                elinewidth=1.2,
                **(shape.filled if shown else shape.hollow),
            )
        axes.set_ylim(len(controllers) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.set_title(dataset)
        axes.set_xlabel("Hypervolume (% of the whole)")
    name_rows(panels.values(), controllers)
    looks = {"color": style.EDGE, "marker": "o", "markersize": 4, "linewidth": 1.2}
    handles = [
        Line2D([], [], color=look(baseline).color, linewidth=0.8, label=baseline),
        Line2D([], [], label=f"differs from {baseline} (paired 95 % interval)", **looks),
        Line2D([], [], mfc="white", label="not told apart from it", **looks),
    ]
    legend_below(figure, handles + upper_bound_handle(hypervolumes), hypervolumes["controller"])
    return figure
