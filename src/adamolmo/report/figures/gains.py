"""How much each controller gains over the baseline at each budget."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from adamolmo.budgets import KINDS
from adamolmo.controllers.roles import baseline_of, without_oracle
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import budget_axis, legend_below, name_rows, panel_grid
from adamolmo.report.figures.style import in_order, styled
from adamolmo.report.results import budgets_of, over_baseline, over_budget
from adamolmo.statistics.intervals import SIGNIFICANCE, holm

_ACROSS = 6  # budgets; of more, large numbers have no decimals and all stand upright
_ROW_IN, _UPRIGHT_ROW_IN = 0.19, 0.28
_FULL_COLOR_POINTS = 10.0  # a larger difference has no darker colour
_WORSE_BETTER = LinearSegmentedColormap.from_list("worse_better", [style.ORANGE, "#FFFFFF", style.BLUE])


@styled
def draw(summary: pd.DataFrame, comparisons: pd.DataFrame, width: float) -> Figure:
    """Accuracy gain over the baseline in points, one cell per controller and budget, on the same questions.

    Framed: shown by the sign-flip test, Holm-corrected over all cells of the dataset. Hatched: the median request is
    over the budget, so the gain is bought.
    """
    summary = without_oracle(summary)
    controllers = in_order(summary["controller"])
    baseline = baseline_of(controllers)
    rows = [name for name in controllers if name != baseline]
    row_in = _ROW_IN if summary["budget"].nunique() <= _ACROSS else _UPRIGHT_ROW_IN
    figure, panels = panel_grid(summary["dataset"], row_in=0.75 + row_in * max(1, len(rows)), width=width)
    paired = over_baseline(comparisons, baseline)
    paired = paired[~paired["budget"].isin(KINDS)]
    for dataset, axes in panels.items():
        cells, pairs = (table[table["dataset"] == dataset] for table in (summary, paired))
        _matrix(axes, cells, pairs, rows, TwoSlopeNorm(0.0, -_FULL_COLOR_POINTS, _FULL_COLOR_POINTS))
        axes.set_title(dataset)
    name_rows(panels.values(), rows)
    handles = [
        Patch(color=style.BLUE, label=f"more accurate than {baseline}"),
        Patch(color=style.ORANGE, label="less accurate"),
        Patch(
            facecolor="white", edgecolor="black", linewidth=1.2, label=f"shown (Holm-corrected p < {SIGNIFICANCE:g})"
        ),
        Patch(facecolor="white", edgecolor=style.GREY, hatch="/////", linewidth=0, label="median over the budget"),
    ]
    legend_below(figure, handles, controllers, handlelength=1.2)
    return figure


def _matrix(axes: Axes, cells: pd.DataFrame, pairs: pd.DataFrame, rows: Sequence[str], norm: TwoSlopeNorm) -> None:
    budgets = budgets_of(cells)
    over = over_budget(cells)
    crowded = len(budgets) > _ACROSS
    for pair, p in zip(pairs.itertuples(), holm(pairs["accuracy_p"]), strict=True):
        x, y, points = budgets.index.get_loc(pair.budget), rows.index(pair.controller), 100 * pair.accuracy_gain
        color = _WORSE_BETTER(norm(points))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor="white", linewidth=0.5))
        if over[pair.controller, pair.budget]:
            hatch = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=style.GREY, hatch="/////", linewidth=0)
            axes.add_patch(hatch)
        if p < SIGNIFICANCE:
            axes.add_patch(Rectangle((x - 0.44, y - 0.42), 0.88, 0.84, fill=False, edgecolor="black", linewidth=1.0))
        face = {"facecolor": color, "edgecolor": "none", "pad": 0.6}  # keeps the number legible on hatching
        digits = 0 if crowded and abs(points) >= 9.95 else 1
        text = f"{points:+.{digits}f}" if abs(points) >= 0.05 else "0"
        looks = {"fontsize": style.TEXT_PT, "rotation": 90 if crowded else 0}
        axes.text(x, y, text, ha="center", va="center", color=style.ink_on(color), bbox=face, **looks)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    budget_axis(axes, budgets)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
