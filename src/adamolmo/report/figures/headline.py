"""The study in one figure: who gains how much at each kind of budget, and whether the budgets are kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.ticker import MaxNLocator

from adamolmo.budgets import ALLOWED_LATE, KINDS, PER_REQUEST, Budget, kind_of
from adamolmo.controllers.roles import baseline_of, heeds_budget, without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import columns, error_bars, legend_below, spread
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import everywhere, kinds_of, late_share, violation_rates
from adamolmo.report.verdict import judge, over_kinds, shown_better

_ZERO = {"color": style.EDGE, "linewidth": 0.9, "zorder": 1}
_PROMISED = {"color": style.EDGE, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1}
_REACH = 0.3  # controllers side by side at one budget
_ROW_IN, _LOW_ROW_IN = 3.5, 2.7  # a kind's two panels with what stands above them
_LINE_PT = 10.0  # from one line above a panel to the next
_LONGEST_PT = 135.0  # of such a line: as wide as a panel
_LEAST_GAIN = 0.02  # that the scale reaches to
_FAR_LATE = 3.0  # times the promise: what is later is an arrow at the edge
_FAR_MEAN_PCT = 115.0  # of the budget: the same
_MEASURES = dict.fromkeys(KINDS, "accuracy over {}, equally late") | {
    PER_REQUEST: "right and on time, over {}",
    "mean": "accuracy over static mixtures, equally fast",
}


@styled
def draw(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    equal_latency: pd.DataFrame,
    promises: pd.DataFrame,
    width: float,
) -> Figure:
    """All datasets together, a column per kind of budget; in one column of a paper the kinds stand below each other.
    Above, the gain of every controller at each budget, by the measure that is fair for the kind (`verdict`), with its
    paired 95 % interval; the best one over all budgets of the kind is drawn large and named, if it is shown to win
    (`verdict.shown_better`).
    Below, what was promised (dashed) and what was found.

    Hollow: the promise is shown to be broken. What lies far beyond the winners and the promise is an arrow at the edge.
    """
    controllers = [name for name in in_order(without_oracle(summary)["controller"]) if heeds_budget(name)]
    asked = summary[summary["controller"].isin(controllers)]
    baseline, kinds = baseline_of(summary["controller"]), kinds_of(summary)
    gains = judge(comparisons, equal_latency, promises, baseline)
    of_kinds, gains, kept = (
        table[table["dataset"] == everywhere(summary)] for table in (over_kinds(gains), gains, promises)
    )
    figure, panels = _pairs_of_panels(kinds, width)
    winners = set()
    for kind, (above, below) in panels.items():
        pooled = of_kinds[of_kinds["kind"] == kind]
        shown = pooled[shown_better(pooled)]
        budgets, best = _by_budget(summary, kind), _best(pooled if shown.empty else shown)
        winner = None if shown.empty else best["controller"]
        winners.add(winner)
        found = _lateness(asked, kind) if kind == PER_REQUEST else kept[kept["budget"].map(kind_of) == kind]
        _gains(above, gains[gains["kind"] == kind], budgets, controllers, winner)
        _promise(below, found, kind, budgets, controllers, winner)
        said = _who_wins(best, winner, kind, baseline) if len(pooled) else [("nothing is compared", 9, "bold")]
        _write_above(above, [(f"Budgets {KINDS[kind]}", 7.5, "normal"), *said])
        _write_above(below, _is_kept(asked, found, kind))
    handles = [_handle(name, name in winners) for name in controllers]
    handles += [] if kinds == [PER_REQUEST] else _handles_of_promises()
    if handles:
        legend_below(figure, handles, controllers)
    return figure


def _pairs_of_panels(kinds: list[str], width: float) -> tuple[Figure, dict[str, tuple[Axes, Axes]]]:
    across = columns(len(kinds), width)
    rows = -(-len(kinds) // across)
    figure = Figure(figsize=(width, rows * (_ROW_IN if across > 1 else _LOW_ROW_IN)))
    grid = figure.subplots(2 * rows, across, squeeze=False, height_ratios=(1.5, 1) * rows)
    pairs = [(grid[2 * row, column], grid[2 * row + 1, column]) for row in range(rows) for column in range(across)]
    for pair in pairs[len(kinds) :]:
        for axes in pair:
            axes.remove()
    return figure, dict(zip(kinds, pairs, strict=False))


def _by_budget(summary: pd.DataFrame, kind: str) -> list[str]:
    """From tight to loose, those that are feasible somewhere."""
    cells = summary[(summary["budget"].map(kind_of) == kind)]
    cells = cells[cells["feasible"]] if cells["feasible"].any() else cells
    return cells.groupby("budget")["budget_ms"].mean().sort_values().index.tolist()


def _best(pooled: pd.DataFrame) -> pd.Series | None:
    """Of those whose promise is not shown to be broken."""
    pooled = pooled[~pooled["broken"]]
    return pooled.loc[pooled["gain"].idxmax()] if len(pooled) else None


def _who_wins(best: pd.Series | None, winner: str | None, kind: str, baseline: str) -> list[tuple[str, float, str]]:
    measure = (_MEASURES[kind].format(baseline), 7, "normal")
    if best is None:
        return [("no promise is kept", 9, "bold"), measure]
    gain, low, high = (f"{100 * best[f'gain{end}']:+.1f}" for end in ("", "_low", "_high"))
    if winner:
        return [(winner, 9, "bold"), (f"{gain} points ({low} to {high})", 8, "bold"), measure]
    largest = f"largest: {best['controller']} {gain} ({low} to {high})"
    return [("nobody is shown to win", 9, "bold"), (largest, 7, "normal"), measure]


def _is_kept(summary: pd.DataFrame, found: pd.DataFrame, kind: str) -> list[tuple[str, float, str]]:
    if found.empty:
        return [("no controller heeds budgets", 8, "bold")]
    if kind == "mean":
        each = 100 * found.loc[found["budget"] == kind, "found"]
        used = f"{each.min():.1f} to {each.max():.1f} % of the budget used"
    else:
        late = late_share(summary, kind)
        used = f"{100 * late.value:.1f} % late ({100 * late.low:.1f} to {100 * late.high:.1f})"
    if kind == PER_REQUEST:
        return [("Nothing is promised", 8, "bold"), (used, 7, "normal")]
    broken = found.loc[found["budget"] == kind, "broken"]
    kept = "Kept overall" if found["broken"].any() else "Kept by all"
    said = f"Broken by {broken.sum()} of {len(broken)}" if broken.any() else kept
    return [(said, 8, "bold"), (used, 7, "normal")]


def _write_above(axes: Axes, lines: list[tuple[str, float, str]]) -> None:
    """Lines (text, size, weight), the first one as title; those that would be wider than the panel are smaller."""
    for place, (text, size, weight) in enumerate(lines):
        looks = {"fontsize": min(size, max(6.0, _LONGEST_PT / (0.6 * len(text)))), "fontweight": weight}
        height = 3 + _LINE_PT * (len(lines) - 1 - place)
        if place == 0:
            axes.set_title(text, loc="left", pad=height, **looks)
        else:  # between the title and the panel
            axes.annotate(text, (0, 1), (0, height), "axes fraction", "offset points", **looks).set_in_layout(False)


def _gains(axes: Axes, gains: pd.DataFrame, budgets: list[str], controllers: list[str], winner: str | None) -> None:
    each = gains[gains["budget"].isin(budgets)].rename(columns=lambda name: name.replace("gain", "found"))
    axes.axhline(0, **_ZERO)
    axes.set_ylim(*_limits_of_gains(gains, winner))
    _points(axes, each, budgets, controllers, winner)
    axes.tick_params(labelbottom=False)
    axes.set_ylabel("Gain (points)")


def _limits_of_gains(gains: pd.DataFrame, winner: str | None) -> tuple[float, float]:
    """So that the winner's budgets are seen, and of the others their means over the kind; below zero twice as far as
    above it at most, or if nobody gains as far as most of them are."""
    pooled = gains["budget"] == gains["kind"]
    shown = gains[(pooled & ~gains["broken"]) | (gains["controller"] == winner)]
    shown = shown if len(shown) else gains[pooled]
    high = 115 * max([_LEAST_GAIN, *shown["gain_high"]])
    low = -115 * min([-_LEAST_GAIN, *shown["gain_low"]])
    most = 0.0 if (shown["gain"] >= 0).any() else -115 * shown["gain_low"].median()
    return -float(np.clip(low, 0.4 * high, np.nanmax([2 * high, most]))), high


def _lateness(summary: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Late requests of all datasets, as in the table `promises`, where nothing is promised."""
    rates = violation_rates(summary[summary["budget"].map(kind_of) == kind])
    return rates.rename(columns=lambda name: name.replace("violation_rate", "found")).reset_index().assign(broken=False)


def _promise(
    axes: Axes, found: pd.DataFrame, kind: str, budgets: list[str], controllers: list[str], winner: str | None
) -> None:
    found = found[found["budget"].isin(budgets)]
    kept = found[~found["broken"].astype(bool)]
    kept = 100 * (kept if len(kept) else found)[["found_low", "found_high"]]
    most = 100 * found["found_high"].median()  # where most are beyond the usual scale, it is theirs
    if kind == "mean":
        axes.axhline(100, **_PROMISED)
        lowest = kept["found_low"].min() if len(kept) else 100.0
        axes.set_ylim(min(lowest, 90.0) - 2, np.nanmax([105.0, most, min(kept["found_high"].max(), _FAR_MEAN_PCT)]))
        axes.set_ylabel("% of budget")
    else:
        promised = 100 * ALLOWED_LATE.get(kind, 1.0)
        if kind in ALLOWED_LATE:
            axes.axhline(promised, **_PROMISED)
        least = 1.2 * promised if kind in ALLOWED_LATE else 1.0
        axes.set_ylim(0, 1.1 * np.nanmax([least, most, min(kept["found_high"].max(), _FAR_LATE * promised)]))
        axes.set_ylabel("Late (%)")
    _points(axes, found, budgets, controllers, winner)
    amounts = [replace(Budget.parse(budget), promise=None).label() for budget in budgets]
    axes.set_xticklabels(amounts)
    percent = any(Budget.parse(budget).unit == "pct" for budget in budgets)
    axes.set_xlabel("Budget (of the full config)" if percent else "Budget")


def _points(axes: Axes, found: pd.DataFrame, budgets: list[str], controllers: list[str], winner: str | None) -> None:
    """Controllers side by side at every budget, in percent; those beyond the panel as arrows at its edge."""
    bottom, top = axes.get_ylim()
    for name, offset in zip(controllers, spread(len(controllers), _REACH), strict=True):
        rows = found[found["controller"] == name].sort_values("budget")
        x = np.array([budgets.index(budget) for budget in rows["budget"]], dtype=float) + offset
        y, bars, broken = (
            (100 * rows["found"]).to_numpy(),
            100 * error_bars(rows, "found"),
            rows["broken"].to_numpy(bool),
        )
        inside = (bottom <= y) & (y <= top)
        for chosen, looks in ((inside & ~broken, "filled"), (inside & broken, "hollow")):
            axes.errorbar(x[chosen], y[chosen], bars[:, chosen], linestyle="", **_weight(name, looks, name == winner))
        for chosen, edge, arrow in ((y > top, top, CARETUP), (y < bottom, bottom, CARETDOWN)):
            looks = {"marker": arrow, "color": look(name).color, "linestyle": "", "markersize": 3.2}
            axes.plot(x[chosen], np.full(chosen.sum(), edge), **looks, zorder=2)
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xticks(range(len(budgets)))
    axes.set_xlim(-0.5, len(budgets) - 0.5)


def _weight(name: str, looks: str, wins: bool) -> dict[str, object]:
    """The winner of a column stands out."""
    size = {"markersize": 7.0, "elinewidth": 1.8} if wins else {"markersize": 3.2, "elinewidth": 0.7}
    shape = {"color": look(name).color, "alpha": 1.0 if wins else 0.6, "zorder": 3 if wins else 2, "mew": 0.5}
    return getattr(look(name), looks) | shape | size


def _handle(name: str, wins: bool) -> Line2D:
    return Line2D([], [], linestyle="", label=name, **look(name).filled | {"markersize": 7.0 if wins else 4.0})


def _handles_of_promises() -> list[Line2D]:
    hollow = {"linestyle": "", "marker": "o", "mfc": "white", "mec": style.EDGE, "markersize": 4.0}
    return [
        Line2D([], [], label="promised", **_PROMISED),
        Line2D([], [], label="hollow: broken at this budget", **hollow),
    ]
