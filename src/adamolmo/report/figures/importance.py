"""Which blocks matter: the accuracy lost without each, and what is left when more and more are skipped."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from adamolmo.files.importance import Importance
from adamolmo.names import ALL_DATASETS
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import columns, legend_below
from adamolmo.report.figures.style import DASHES, styled
from adamolmo.report.results import knob_values
from adamolmo.statistics.intervals import Resampling, mean_intervals

_GAIN_LOSS = LinearSegmentedColormap.from_list("gain_loss", [style.BLUE, "#FFFFFF", style.VERMILLION])
_DATASET_COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.VERMILLION, style.BLACK)
_KEPT_IN = 1.4  # height of the accuracy against the blocks kept, below the heat map
_NUMBER_PT = 15.0  # width of a cell in which a number can lie
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@styled
def draw(scores: Importance, profile: pd.DataFrame, width: float) -> Figure:
    """First, points of accuracy lost when one block is skipped, per dataset and over all, with the order of removal.
    Then accuracy of the full tier and top-k against the blocks kept, with 95 % intervals clustered by image.

    Args:
        profile: rows of core_exp.
    """
    datasets = list(scores.datasets)
    rows_in = 0.75 + 0.2 * len(datasets)
    if columns(2, width) > 1:
        figure = Figure(figsize=(width, max(1.9, rows_in)))
        left, right = figure.subplots(1, 2, width_ratios=(2.1, 1))
    else:
        figure = Figure(figsize=(width, rows_in + _KEPT_IN))
        left, right = figure.subplots(2, 1, height_ratios=(rows_in, _KEPT_IN))
    _heat_map(left, scores, datasets)
    legend_below(figure, _blocks_kept(right, profile))
    return figure


def _heat_map(axes: Axes, scores: Importance, datasets: list[str]) -> None:
    blocks = sorted(map(int, scores.scores))
    rows = {ALL_DATASETS: scores.scores} | {name: scores.datasets[name].scores for name in datasets}
    lost = 100 * np.array([[row[str(block)] for block in blocks] for row in rows.values()])
    reach = max(1.0, np.abs(lost).max())
    norm = TwoSlopeNorm(0.0, -reach, reach)
    axes.pcolormesh(lost, cmap=_GAIN_LOSS, norm=norm, edgecolors="white", linewidth=0.6)
    upright = axes.get_window_extent().width / axes.get_figure().dpi * 72 / len(blocks) < _NUMBER_PT
    for (row, column), value in np.ndenumerate(lost):
        color = style.ink_on(_GAIN_LOSS(norm(value)))
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{value:.{0 if upright and abs(value) >= 9.95 else 1}f}",
            ha="center",
            va="center",
            fontsize=style.TEXT_PT,
            color=color,
            rotation=90 if upright else 0,
        )
    for place, block in enumerate(scores.removal_order, start=1):
        above = {
            "xytext": (0, 2),
            "textcoords": "offset points",
            "ha": "center",
            "fontsize": style.TEXT_PT,
            "color": style.GREY,
        }
        axes.annotate(str(place), (blocks.index(block) + 0.5, 0), **above)
    axes.set_title("Points of accuracy lost without one block\n(above: order of removal)", pad=10, fontsize=7)
    axes.set_xticks(np.arange(len(blocks)) + 0.5, blocks)
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axes.set_ylim(len(rows), 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Skipped block")


def _blocks_kept(axes: Axes, profile: pd.DataFrame) -> list:
    values = knob_values(profile)
    full = profile[(profile["tier"] == values["tier"][-1]) & (profile["top_k"] == values["top_k"][-1])]
    for place, (dataset, rows) in enumerate(full.groupby("dataset", observed=True)):
        table = rows.pivot(index="sample_id", columns="num_active_blocks", values="accuracy")
        clusters = rows.drop_duplicates("sample_id").set_index("sample_id").loc[table.index, "image_id"].to_numpy()
        value, low, high = 100 * mean_intervals(table.to_numpy(float).T, clusters, resampling=Resampling(1000))
        color, marker = _DATASET_COLORS[place % len(_DATASET_COLORS)], _MARKERS[place % len(_MARKERS)]
        bars = np.stack([value - low, high - value]).clip(0)
        axes.errorbar(
            table.columns,
            value,
            yerr=bars,
            color=color,
            marker=marker,
            elinewidth=0.7,
            markersize=3.5,
            label=dataset,
            linestyle=DASHES[place % len(DASHES)],
        )
    axes.set_xticks(values["num_active_blocks"])
    axes.set_xlabel("Active blocks")
    axes.set_ylabel("Accuracy (%)")
    axes.grid(axis="y")
    return axes.get_legend_handles_labels()[0]
