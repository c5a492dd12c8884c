"""Where each static config spends its time."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adamolmo.evaluation.summary import static_configs
from adamolmo.files.columns import STAGES
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import legend_below
from adamolmo.report.figures.style import PAGE_IN, styled

_COLORS = dict(zip(STAGES, (style.BLUE, style.ORANGE, style.GREEN), strict=True))


@styled
def draw(profile: pd.DataFrame, path: str | Path) -> Figure:
    """Mean time of each stage for every static config, stacked; one row per dataset."""
    configs = static_configs(profile)
    datasets = sorted(configs["dataset"].unique())
    figure = Figure(figsize=(PAGE_IN, 0.6 + 1.05 * len(datasets)))
    rows = figure.subplots(len(datasets), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, dataset in zip(rows, datasets, strict=True):
        grid = configs[configs["dataset"] == dataset].reset_index(drop=True)
        x, bottom = _grouped_places(grid), np.zeros(len(grid))
        for stage, color in _COLORS.items():
            axes.bar(x, grid[stage], bottom=bottom, width=1.0, color=color, edgecolor="white", linewidth=0.3)
            bottom += grid[stage].to_numpy()
        axes.set_ylabel(f"{dataset}\nms per request")
        axes.grid(axis="y")
    groups = grid.assign(x=x).groupby(["tier", "top_k"], sort=False, observed=True)["x"].mean()
    rows[-1].set_xticks(groups, [f"k{top_k}" for _, top_k in groups.index])
    rows[-1].set_xlim(x[0] - 1, x[-1] + 1)
    for tier, place in groups.groupby("tier", sort=False, observed=True).mean().items():
        rows[0].text(place, 1.04, f"tier {tier}", transform=rows[0].get_xaxis_transform(), ha="center")
    blocks = sorted(grid["num_active_blocks"].unique())
    rows[-1].set_xlabel(f"top-k; within each group {', '.join(map(str, blocks))} active blocks from left to right")
    for axes in rows:
        axes.tick_params(axis="x", length=0)
    legend_below(figure, [Patch(color=c, label=stage.removesuffix("_ms")) for stage, c in _COLORS.items()])
    return style.save(figure, path)


def _grouped_places(grid: pd.DataFrame) -> np.ndarray:
    """Places of bars, sorted as `grid`, with a gap before each new top_k and a wider one before each new tier."""
    new_tier = grid["tier"].ne(grid["tier"].shift()).to_numpy()
    new_group = new_tier | grid["top_k"].ne(grid["top_k"].shift()).to_numpy()
    gaps = np.where(new_tier, 2.5, np.where(new_group, 1.0, 0.0))
    gaps[0] = 0.0
    return np.arange(len(grid)) + np.cumsum(gaps)
