"""The figure of the lmms-eval rules: each task's metric against latency, every controller over its budgets."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.errors import AdaMolmoError
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import controller_handles, error_bars, legend_below, panel_grid
from adamolmo.report.figures.style import in_order, look, styled

_SMALL = {"ha": "right", "fontsize": 6, "color": style.GREY}


@styled
def benchmarks(table: pd.DataFrame, metrics: Mapping[str, str], width: float) -> Figure:
    """One panel per task; `metrics` maps a task to the metric that is drawn. `table` is that of `summary.collect`.

    Raises AdaMolmoError when a task has no such metric.
    """
    figure, panels = panel_grid(metrics, row_in=2.2, width=width)
    for task, axes in panels.items():
        found = table[table["task"] == task]
        cells = found[found["metric"] == metrics[task]]
        if cells.empty:
            known = ", ".join(sorted(set(found["metric"])))
            raise AdaMolmoError(f"lmms_eval.tasks.{task}.metric is '{metrics[task]}'; expected one of {known}.")
        for budget_ms in cells["budget_ms"].unique():
            axes.axvline(budget_ms, color=style.LIGHT, linewidth=0.6, zorder=0)
        for controller in in_order(cells["controller"]):
            _curve(axes, cells[cells["controller"] == controller].sort_values(["budget_ms", "budget"]), controller)
        axes.set_title(task)
        axes.text(1, 0.02, f"{cells['num_documents'].iloc[0]} documents", transform=axes.transAxes, **_SMALL)
        axes.set_ylabel(metrics[task])
        axes.set_xlabel("Median latency of a request (ms)")
        axes.grid(axis="y")
    controllers = controller_handles(table["controller"])
    legend_below(figure, [*controllers, Line2D([], [], color=style.LIGHT, label="budget")])
    return figure


def _curve(axes: Axes, cells: pd.DataFrame, controller: str) -> None:
    shape = look(controller)
    axes.errorbar(
        cells["latency_p50_ms"],
        cells["value"],
        xerr=error_bars(cells, "latency_p50_ms"),
        yerr=error_bars(cells, "value"),
        color=shape.color,
        ecolor=(shape.color, 0.6),
        elinewidth=0.7,
        linestyle=shape.linestyle,
        **shape.filled,
    )
