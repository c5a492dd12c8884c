"""How late each controller is at each budget, and whether that is more than was promised."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adamolmo.budgets import ALLOWED_LATE, KINDS, PER_REQUEST, kind_of
from adamolmo.controllers.roles import heeds_budget, without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import MANY, columns, controller_handles, error_bars, legend_below, spread
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import kinds_of

_PROMISED = {"color": style.EDGE, "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1}
_CROSS = {"color": style.EDGE, "marker": "x", "markersize": 3.2, "markeredgewidth": 0.7, "linestyle": "none"}
_FAR_LATE = 3.0  # times the promise: what is later is an arrow at the edge
_MEAN_PCT = (70.0, 115.0)  # of the budget: the same
_PALE = 0.35  # opacity of a budget that no static config meets
_REACH = 0.3  # budgets below each other in a controller's row


@styled
def draw(summary: pd.DataFrame, width: float) -> Figure:
    """A row of panels per dataset, a panel per kind of budget: where requests are promised to be on time, or nothing is
    promised, the share of late ones; under a promised mean the mean latency in percent of the budget; with 95 %
    intervals. A row per controller, in it its budgets from tight (above) to loose.

    Dashed: the promise. Hollow: shown to be broken. An arrow: beyond the scale. Pale: met by no static config.
    Cross: the rate at the profile's speed, where the device was not as fast and no governor answers for it.
    """
    cells = without_oracle(summary)
    heeding = cells[cells["controller"].map(heeds_budget).astype(bool)]
    cells = heeding if len(heeding) else cells
    controllers, kinds, datasets = in_order(cells["controller"]), kinds_of(cells), sorted(cells["dataset"].unique())
    narrow = columns(3, width) == 1
    across = min(len(kinds), 3 if narrow else 5)
    row_in = 0.13 if len(controllers) > MANY else 0.17
    lines = -(-len(kinds) // across)  # of panels per dataset
    height = (0.35 + row_in * len(controllers)) * len(datasets) * lines + 0.3
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(len(datasets) * lines, across, squeeze=False)
    for axes in grid[:, len(kinds) - (lines - 1) * across :][lines - 1 :: lines].ravel():
        axes.remove()
    for place, kind in enumerate(kinds):
        of_kind = _found(cells[cells["budget"].map(kind_of) == kind], kind)
        low, high = _limits(of_kind, kind)
        for row, dataset in enumerate(datasets):
            axes = grid[row * lines + place // across, place % across]
            axes.set_xlim(low, high)
            _panel(axes, of_kind[of_kind["dataset"] == dataset], controllers, _promise_pct(kind))
            named = place % across == 0 and not narrow
            axes.set_yticks(range(len(controllers)), controllers if named else [""] * len(controllers))
            if place == 0:
                axes.set_title(dataset, loc="left", pad=3)
            if row == len(datasets) - 1 or lines > 1:
                what = "Latency (% of budget)" if kind == "mean" else "Late requests (%)"
                axes.set_xlabel(f"{what}\n{KINDS[kind]}")
    handles = controller_handles(controllers, lines=False) if narrow else []
    legend_below(figure, handles + _handles(cells, kinds), controllers)
    return figure


def _promise_pct(kind: str) -> float | None:
    return 100.0 if kind == "mean" else 100 * ALLOWED_LATE[kind] if kind in ALLOWED_LATE else None


def _found(cells: pd.DataFrame, kind: str) -> pd.DataFrame:
    """What is held against the promise, in percent, with its interval, as `found`."""
    stem, scale = ("latency_mean_ms", 1 / cells["budget_ms"]) if kind == "mean" else ("violation_rate", 1.0)
    ends = {f"found{end}": 100 * scale * cells[f"{stem}{end}"] for end in ("", "_low", "_high")}
    return cells.assign(**ends)


def _limits(found: pd.DataFrame, kind: str) -> tuple[float, float]:
    """So that the promise and what lies near it are seen; of budgets per request everything."""
    low, high = found["found_low"].min(), found["found_high"].max()
    most = 1.02 * found["found"].median()  # where most are beyond the usual scale, it is theirs
    if kind == "mean":
        return max(min(low, 97.0) - 1, _MEAN_PCT[0]), min(max(high, 103.0) + 1, max(_MEAN_PCT[1], most))
    promise = _promise_pct(kind) or 100.0
    end = min(max(high, 1.5 * promise if kind != PER_REQUEST else 5.0), max(_FAR_LATE * promise, most), 100.0)
    return -0.03 * end, 1.05 * end


def _panel(axes: Axes, cells: pd.DataFrame, controllers: list[str], promise: float | None) -> None:
    low, high = axes.get_xlim()
    if promise is not None:
        axes.axvline(promise, **_PROMISED)
    for row, controller in enumerate(controllers):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        rows, shape = cells[cells["controller"] == controller].sort_values(["budget_ms", "budget"]), look(controller)
        for offset, (_, cell) in zip(spread(len(rows), _REACH), rows.iterrows(), strict=True):
            y, pale = row + offset, {"alpha": 1.0 if cell["feasible"] else _PALE}
            if not low <= cell["found"] <= high:
                arrow = {"marker": ">" if cell["found"] > high else "<", "markersize": 3.2, "clip_on": False}
                axes.plot(np.clip(cell["found"], low, high), y, color=shape.color, **arrow, **pale)
                continue
            broken = promise is not None and heeds_budget(controller) and cell["found_low"] > promise
            looks = (shape.hollow if broken else shape.filled) | {"markersize": 3.0}
            bars = error_bars(cell[["found", "found_low", "found_high"]].astype(float), "found")[:, None]
            axes.errorbar(cell["found"], y, xerr=bars, color=shape.color, elinewidth=0.9, **looks, **pale, zorder=2)
            if promise is None and cell["slowdown"] != 1:
                axes.plot(100 * cell["violation_rate_at_profile_speed"], y, **_CROSS, zorder=3)
    axes.set_ylim(len(controllers) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")


def _handles(cells: pd.DataFrame, kinds: list[str]) -> list[Line2D]:
    dot = {"linestyle": "", "marker": "o", "color": style.EDGE, "markersize": 3.0}
    per_request = cells[cells["budget"].map(kind_of) == PER_REQUEST]
    handles = [Line2D([], [], label="one budget, 95 % interval", **dot | {"linestyle": "-"})]
    if kinds != [PER_REQUEST]:
        handles += [
            Line2D([], [], label="promised at most", **_PROMISED),
            Line2D([], [], label="hollow: promise broken", **dot | {"mfc": "white"}),
        ]
    handles.append(Line2D([], [], label="beyond the scale", **dot | {"marker": ">"}))
    if not cells["feasible"].all():
        handles.append(Line2D([], [], label="pale: met by no static config", **dot, alpha=_PALE))
    if (per_request["slowdown"] != 1).any():
        handles.append(Line2D([], [], label="at the profile's speed", **_CROSS))
    return handles
