"""The figure of the lmms-eval rules: each task's metric against latency, every controller over its budgets."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.errors import AdaMolmoError
from adamolmo.figures import style
from adamolmo.figures.panels import error_bars
from adamolmo.figures.style import PAGE_IN, in_order, look, styled

_MAX_COLUMNS = 3
_SMALL = {"ha": "right", "fontsize": 6, "color": style.GREY}


@styled
def benchmarks(table: pd.DataFrame, metrics: Mapping[str, str], path: str | Path) -> Figure:
    """One panel per task; `metrics` maps a task to the metric that is drawn. `table` is that of `summary.collect`.

    Raises AdaMolmoError when a task has no such metric.
    """
    columns = min(len(metrics), _MAX_COLUMNS)
    rows = -(-len(metrics) // columns)
    controllers = in_order(table["controller"])
    legend_rows = -(-(len(controllers) + 1) // 4)
    figure = Figure(figsize=(PAGE_IN, 2.2 * rows + 0.2 + 0.16 * legend_rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(metrics) :]:
        axes.remove()
    for axes, (task, metric) in zip(panels, metrics.items(), strict=False):
        found = table[table["task"] == task]
        cells = found[found["metric"] == metric]
        if cells.empty:
            known = ", ".join(sorted(set(found["metric"])))
            raise AdaMolmoError(f"lmms_eval.tasks.{task}.metric is '{metric}'; expected one of {known}.")
        for budget_ms in cells["budget_ms"].unique():
            axes.axvline(budget_ms, color=style.LIGHT, linewidth=0.6, zorder=0)
        for controller in in_order(cells["controller"]):
            _curve(axes, cells[cells["controller"] == controller].sort_values("budget_ms"), controller)
        axes.set_title(task)
        axes.text(1, 0.02, f"{cells['num_documents'].iloc[0]} documents", transform=axes.transAxes, **_SMALL)
        axes.set_ylabel(metric)
        axes.set_xlabel("Median latency of a request (ms)")
        axes.grid(axis="y")
    figure.legend(
        handles=[*map(_handle, controllers), Line2D([], [], color=style.LIGHT, label="budget")],
        loc="outside lower center",
        ncols=4,
    )
    return style.save(figure, path)


def _curve(axes, cells: pd.DataFrame, controller: str) -> None:
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
        **_marker(controller),
    )


def _handle(controller: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=look(controller).color,
        linestyle=look(controller).linestyle,
        label=controller,
        **_marker(controller),
    )


def _marker(controller: str) -> dict[str, object]:
    shape = look(controller)
    return {
        "marker": shape.marker,
        "mfc": shape.color,
        "mec": style.EDGE,
        "mew": 0.4,
        "markersize": 7 if shape.marker == "*" else 4,
    }
