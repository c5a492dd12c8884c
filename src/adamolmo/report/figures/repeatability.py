"""How well the latency of one request repeats."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.report.figures import style
from adamolmo.report.figures.panels import label_outer, legend_below, panel_grid
from adamolmo.report.figures.style import styled
from adamolmo.report.results import knob_values


@styled
def draw(profile: pd.DataFrame, timing: Mapping[str, Mapping], path: str | Path) -> Figure:
    """How far repeats of one timed request lie apart: share of requests whose interquartile range stays below x.

    Args:
        profile: rows of core_exp with latency_ms, latency_iqr_ms, latency_source, tier.
        timing: per dataset the metadata of its core_exp: drift_pct, drift_limit_pct, estimate_error_pct, num_timed
            (None where nothing was timed).
    """
    timed = profile[profile["latency_source"] != "estimated"]
    tiers = knob_values(profile)["tier"]
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
