"""What the profile says about time: where each config spends it, and how well it repeats."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamolmo.evaluation.summary import static_configs, tiers_by_cost
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import label_outer, legend_below, panel_grid
from adamolmo.report.figures.style import PAGE_IN, styled

_STAGE_COLORS = {"vision_ms": style.BLUE, "prefill_ms": style.ORANGE, "decode_ms": style.GREEN}


@styled
def stage_times(profile: pd.DataFrame, path: str | Path) -> Figure:
    """Mean time of each stage for every static config, stacked; one row per dataset."""
    configs = static_configs(profile)
    datasets = sorted(configs["dataset"].unique())
    figure = Figure(figsize=(PAGE_IN, 0.6 + 1.05 * len(datasets)))
    rows = figure.subplots(len(datasets), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, dataset in zip(rows, datasets, strict=True):
        grid = configs[configs["dataset"] == dataset].reset_index(drop=True)
        x, bottom = _grouped_places(grid), np.zeros(len(grid))
        for stage, color in _STAGE_COLORS.items():
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
    legend_below(figure, [Patch(color=c, label=stage.removesuffix("_ms")) for stage, c in _STAGE_COLORS.items()])
    return style.save(figure, path)


@styled
def repeatability(profile: pd.DataFrame, timing: Mapping[str, Mapping], path: str | Path) -> Figure:
    """How far repeats of one timed request lie apart: share of requests whose interquartile range stays below x.

    Args:
        profile: rows of core_exp with latency_ms, latency_iqr_ms, latency_source, tier.
        timing: per dataset the metadata of its core_exp: drift_pct, drift_limit_pct, estimate_error_pct, num_timed
            (None where nothing was timed).
    """
    timed = profile[profile["latency_source"] != "estimated"]
    tiers = tiers_by_cost(static_configs(profile))
    colors = dict(zip(tiers, style.shades(style.BLUE, len(tiers)), strict=True))
    figure, panels = panel_grid(timed["dataset"], row_in=2.1)
    for dataset, axes in panels.items():
        rows = timed[timed["dataset"] == dataset]
        for tier in tiers:
            of_tier = rows[rows["tier"] == tier]
            spread_pct = np.sort(100 * of_tier["latency_iqr_ms"] / of_tier["latency_ms"])
            share = 100 * np.arange(1, len(spread_pct) + 1) / max(1, len(spread_pct))
            axes.plot(spread_pct, share, color=colors[tier], drawstyle="steps-post", linewidth=1.2)
        note = _timing_note(timing[dataset])
        axes.text(0.97, 0.05, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=6, linespacing=1.3)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 101)
        axes.grid()
        axes.set_title(dataset)
    label_outer(panels, "Spread of the repeats (% of latency)", "Timed requests (%)")
    legend_below(figure, [Line2D([], [], color=color, label=f"tier {tier}") for tier, color in colors.items()])
    return style.save(figure, path)


def _timing_note(timing: Mapping) -> str:
    if timing["drift_pct"] is None:
        return "nothing timed:\nlatency is modelled"
    drift = f"drift {timing['drift_pct']:.1f} % (limit {timing['drift_limit_pct']:g} %)"
    error = timing["estimate_error_pct"]
    return drift if error is None else f"{drift}\nerror of estimates {error:.1f} %"


def _grouped_places(grid: pd.DataFrame) -> np.ndarray:
    """Places of bars, sorted as `grid`, with a gap before each new top_k and a wider one before each new tier."""
    new_tier = grid["tier"].ne(grid["tier"].shift()).to_numpy()
    new_group = new_tier | grid["top_k"].ne(grid["top_k"].shift()).to_numpy()
    gaps = np.where(new_tier, 2.5, np.where(new_group, 1.0, 0.0))
    gaps[0] = 0.0
    return np.arange(len(grid)) + np.cumsum(gaps)
