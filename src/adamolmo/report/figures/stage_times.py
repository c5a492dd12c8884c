"""Where the time goes, and what each knob saves of it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adamolmo.evaluation.summary import static_configs
from adamolmo.files.columns import STAGES
from adamolmo.report.figures import style
from adamolmo.report.figures.panels import circle, columns, legend_below
from adamolmo.report.figures.style import styled
from adamolmo.report.results import knob_values

_COLORS = dict(zip(STAGES, (style.BLUE, style.ORANGE, style.GREEN), strict=True))
_HATCHES = dict(zip(STAGES, ("", "////", "...."), strict=True))  # told apart in grey print as well
_NAMES = {"tier": "tier {}", "top_k": "top-k {}", "num_active_blocks": "{} blocks"}


@styled
def draw(profile: pd.DataFrame, width: float) -> Figure:
    """Mean time of each stage, mean over the datasets: of the full config, of each knob alone from its next lower value
    to its lowest with the others at their highest, and of all knobs at their lowest. A circle: one dataset."""
    configs = _configs(profile)
    of_config = static_configs(profile).set_index(["tier", "top_k", "num_active_blocks"])
    shown = width if columns(3, width) == 1 else 0.65 * width
    figure = Figure(figsize=(shown, 0.45 + 0.135 * len(configs)))
    axes = figure.subplots()
    for y, config in enumerate(configs.values()):
        times, left = of_config.loc[[config], list(_COLORS)], 0.0
        for stage, color in _COLORS.items():
            mean = times[stage].mean()
            looks = {"color": color, "hatch": _HATCHES[stage], "edgecolor": "white", "linewidth": 0.3}
            axes.barh(y, mean, left=left, height=0.75, **looks)
            left += mean
        axes.plot(times.sum(axis=1), np.full(len(times), y), **circle("o"))
        axes.annotate(f"{left:.1f}", (times.sum(axis=1).max(), y), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(configs)), list(configs))
    axes.set_ylim(len(configs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)
    axes.set_xlabel("Mean time of a request (ms)")
    axes.grid(axis="x")
    stages = [
        Patch(facecolor=c, hatch=_HATCHES[stage], edgecolor="white", linewidth=0, label=stage.removesuffix("_ms"))
        for stage, c in _COLORS.items()
    ]
    legend_below(figure, [*stages, Line2D([], [], label="one dataset", **circle("o"))], handlelength=1.6)
    return figure


def _configs(profile: pd.DataFrame) -> dict[str, tuple]:
    """What is drawn, from top to bottom."""
    values = knob_values(profile)
    full = {knob: ascending[-1] for knob, ascending in values.items()}
    shown = {"full config": tuple(full.values())}
    for knob, ascending in values.items():
        for value in ascending[-2::-1]:
            shown[_NAMES[knob].format(value)] = tuple((full | {knob: value}).values())
    return shown | {"all at their lowest": tuple(ascending[0] for ascending in values.values())}
