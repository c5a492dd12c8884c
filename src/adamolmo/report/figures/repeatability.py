"""How well the latency of one request repeats."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.report.figures import style
from adamolmo.report.figures.panels import label_outer, legend_below, panel_grid
from adamolmo.report.figures.style import DASHES, styled
from adamolmo.report.results import knob_values

_SHOWN = 0.98  # share of the requests that sets the scale
_LEAST_PCT = 1.0  # that the scale reaches to


@styled
def draw(profile: pd.DataFrame, timing: Mapping[str, Mapping], width: float) -> Figure:
    """How far repeats of one timed request lie apart: share of requests whose interquartile range stays below x. The
    scale ends where nearly all requests are; the panel says how many lie beyond.

    Args:
        profile: rows of core_exp with latency_ms, latency_iqr_ms, latency_source, tier.
        timing: per dataset the metadata of its core_exp: drift_pct, drift_limit_pct, estimate_error_pct, num_timed
            (None where nothing was timed).
    """
    timed = profile[profile["latency_source"] != "estimated"]
    timed = timed.assign(spread_pct=100 * timed["latency_iqr_ms"] / timed["latency_ms"])
    tiers = knob_values(profile)["tier"]
    looks = {
        tier: {"color": color, "linestyle": DASHES[-1 - place % len(DASHES)]}
        for place, (tier, color) in enumerate(zip(tiers, style.shades(style.BLUE, len(tiers)), strict=True))
    }
    most = max(timed["spread_pct"].quantile(_SHOWN), _LEAST_PCT)
    figure, panels = panel_grid(timed["dataset"], row_in=1.5, width=width)
    for dataset, axes in panels.items():
        rows = timed[timed["dataset"] == dataset]
        for tier in tiers:
            spread_pct = np.sort(rows.loc[rows["tier"] == tier, "spread_pct"])
            share = 100 * np.arange(1, len(spread_pct) + 1) / max(1, len(spread_pct))
            axes.plot(spread_pct, share, **looks[tier], drawstyle="steps-post", linewidth=1.2)
        note = _timing_note(timing[dataset], 100 * (rows["spread_pct"] > most).mean())
        axes.text(
            0.97, 0.05, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=style.TEXT_PT, linespacing=1.3
        )
        axes.set_xlim(0, most)
        axes.set_ylim(0, 101)
        axes.grid()
        axes.set_title(dataset)
    label_outer(panels, "Spread of the repeats (% of latency)", "Timed requests (%)")
    legend_below(figure, [Line2D([], [], **looks[tier], label=f"tier {tier}") for tier in tiers])
    return figure


def _timing_note(timing: Mapping, beyond_pct: float) -> str:
    if timing["drift_pct"] is None:
        return "nothing timed:\nlatency is modelled"
    lines = [f"drift {timing['drift_pct']:.1f} % (limit {timing['drift_limit_pct']:g} %)"]
    if timing["estimate_error_pct"] is not None:
        lines.append(f"error of estimates {timing['estimate_error_pct']:.1f} %")
    return "\n".join([*lines, f"beyond the scale {beyond_pct:.1f} %"])
