"""The study in one figure: who gains how much at each kind of budget, and whether the budgets are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.budgets import ALLOWED_LATE, KINDS, PER_REQUEST, Budget, kind_of
from adamolmo.controllers.roles import baseline_of, heeds_budget, without_oracle
from adamolmo.evaluation.outcomes import ALL_DATASETS
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import error_bars, legend_below, spread
from adamolmo.report.figures.style import in_order, look, styled
from adamolmo.report.results import kinds_of, late_share
from adamolmo.report.verdict import judge, judged_by
from adamolmo.statistics.intervals import clopper_pearson

_ZERO = {"color": style.EDGE, "linewidth": 0.9, "zorder": 1}
_PROMISED = {"color": style.EDGE, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1}
_REACH = 0.3  # controllers side by side at one budget


@styled
def draw(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    equal_latency: pd.DataFrame,
    promises: pd.DataFrame,
    path: str | Path,
) -> Figure:
    """A column per kind of budget, all datasets together. Above, the gain of every controller at each budget, by the
    measure that is fair for the kind (`verdict`), with its paired 95 % interval; the best one of the kind is drawn
    large and named with its gain over all its budgets. Below, what was promised (dashed) and what was found.
    """
    controllers = [name for name in in_order(without_oracle(summary)["controller"]) if heeds_budget(name)]
    everywhere = ALL_DATASETS if summary["dataset"].nunique() > 1 else summary["dataset"].iloc[0]
    baseline, kinds = baseline_of(summary["controller"]), kinds_of(summary)
    gains = judge(comparisons, equal_latency, promises, baseline)
    gains, kept = (table[table["dataset"] == everywhere] for table in (gains, promises))
    figure = Figure(figsize=(style.PAGE_IN if len(kinds) > 1 else style.COLUMN_IN, 3.3))
    grid = figure.subplots(2, len(kinds), squeeze=False, sharex="col", height_ratios=(1.5, 1))
    best = {kind: _best(gains[gains["budget"] == kind]) for kind in kinds}
    for kind, (above, below) in zip(kinds, grid.T, strict=True):
        budgets = _by_budget(summary, kind)
        of_kind, against = gains[gains["kind"] == kind], judged_by(baseline)[kind].against
        _gains(above, of_kind, budgets, controllers, best[kind])
        above.set_title(_who_wins(best[kind], KINDS[kind]), loc="left", fontsize=7)
        above.set_ylabel(f"Points over {_short(against)}\n({_MEASURES[kind]})")
        found = _lateness(summary, kind) if kind == PER_REQUEST else kept[kept["budget"].map(kind_of) == kind]
        _promise(below, found, kind, budgets, controllers, best[kind])
        below.set_title(_is_kept(summary, found, kind), loc="left", fontsize=7)
    best_ones = {row["controller"] for row in best.values() if row is not None}
    handles = [_handle(name, name in best_ones) for name in controllers]
    legend_below(figure, [*handles, Line2D([], [], label="promised", **_PROMISED)])
    return style.save(figure, path)


_MEASURES = dict.fromkeys(KINDS, "accuracy, equal lateness") | {
    PER_REQUEST: "right and on time",
    "mean": "accuracy, equal mean latency",
}


def _short(against: str) -> str:
    return against if " " not in against else "best static mixture"


def _by_budget(summary: pd.DataFrame, kind: str) -> list[str]:
    """From tight to loose, those that are feasible somewhere."""
    cells = summary[(summary["budget"].map(kind_of) == kind)]
    cells = cells[cells["feasible"]] if cells["feasible"].any() else cells
    return cells.groupby("budget")["budget_ms"].mean().sort_values().index.tolist()


def _best(pooled: pd.DataFrame) -> pd.Series | None:
    """Of those whose promise is not shown to be broken."""
    pooled = pooled[~pooled["broken"]]
    return pooled.loc[pooled["gain"].idxmax()] if len(pooled) else None


def _who_wins(best: pd.Series | None, kind: str) -> str:
    title = f"Budget {kind}"
    if best is None:
        return f"{title}\nnothing is compared"
    low, high = 100 * best["gain_low"], 100 * best["gain_high"]
    gain = f"{100 * best['gain']:+.1f} points ({low:+.1f} to {high:+.1f})"
    return f"{title}\n{best['controller']}\n{gain}" if low > 0 else f"{title}\nno certain gain; largest:\n{gain}"


def _gains(axes: Axes, gains: pd.DataFrame, budgets: list[str], controllers: list[str], best: pd.Series | None) -> None:
    axes.axhline(0, **_ZERO)
    for name, offset in zip(controllers, spread(len(controllers), _REACH), strict=True):
        rows = gains[(gains["controller"] == name) & gains["budget"].isin(budgets)]
        x = np.array([budgets.index(budget) for budget in rows["budget"]], dtype=float) + offset
        bars = 100 * error_bars(rows, "gain")
        axes.errorbar(x, 100 * rows["gain"], yerr=bars, linestyle="", **_weight(name, best))
    axes.grid(axis="y")
    axes.margins(y=0.12)


def _lateness(summary: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Late requests of all datasets, as in the table `promises`, where nothing is promised."""
    cells = summary[(summary["budget"].map(kind_of) == kind)]
    late = (cells["violation_rate"] * cells["num_samples"]).round()
    counts = cells.assign(late=late).groupby(["controller", "budget"])[["late", "num_samples"]].sum()
    rates = [clopper_pearson(int(late), int(n)) for late, n in counts.itertuples(index=False)]
    ends = {"found": "value", "found_low": "low", "found_high": "high"}
    columns = {column: [getattr(rate, end) for rate in rates] for column, end in ends.items()}
    return counts.reset_index()[["controller", "budget"]].assign(**columns)


def _promise(
    axes: Axes, found: pd.DataFrame, kind: str, budgets: list[str], controllers: list[str], best: pd.Series | None
) -> None:
    for name, offset in zip(controllers, spread(len(controllers), _REACH), strict=True):
        rows = found[(found["controller"] == name) & found["budget"].isin(budgets)]
        x = np.array([budgets.index(budget) for budget in rows["budget"]], dtype=float) + offset
        axes.errorbar(x, 100 * rows["found"], yerr=100 * error_bars(rows, "found"), linestyle="", **_weight(name, best))
    if kind == "mean":
        axes.axhline(100, **_PROMISED)
        axes.set_ylabel("Mean latency\n(% of the budget)")
    else:
        if kind in ALLOWED_LATE:
            axes.axhline(100 * ALLOWED_LATE[kind], **_PROMISED)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("Late requests (%)")
    axes.grid(axis="y")
    amounts = [replace(Budget.parse(budget), promise=None).label() for budget in budgets]
    axes.set_xticks(range(len(budgets)), amounts)
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    axes.set_xlabel("Budget (%: of the full config)")


def _is_kept(summary: pd.DataFrame, found: pd.DataFrame, kind: str) -> str:
    if kind == PER_REQUEST:
        return "Nothing is promised"
    if kind == "mean":
        each = 100 * found.loc[found["budget"] == kind, "found"]
        return f"On average {each.min():.1f} to {each.max():.1f} % used"
    late = late_share(summary, kind)
    return f"{100 * late.value:.1f} % late ({100 * late.low:.1f} to {100 * late.high:.1f})"


def _weight(name: str, best: pd.Series | None) -> dict[str, object]:
    """The best one of a column stands out."""
    shape, is_best = look(name), best is not None and name == best["controller"]
    size = {"markersize": 5.0, "elinewidth": 1.6} if is_best else {"markersize": 3.0, "elinewidth": 0.7}
    return {
        **shape.filled,
        "color": shape.color,
        "alpha": 1.0 if is_best else 0.75,
        "zorder": 3 if is_best else 2,
        **size,
    }


def _handle(name: str, large: bool) -> Line2D:
    return Line2D([], [], linestyle="", label=name, **look(name).filled | {"markersize": 5.0 if large else 3.5})
