"""How the training went, as the model card shows it."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.embedded.recipe import TIERS_MAX_CROPS
from adamolmo.files.embedded import TrainingLine
from adamolmo.report.figures.style import BLUE, EDGE, GREEN, ORANGE, PAGE_IN, styled

_COLOURS = dict(zip(TIERS_MAX_CROPS, (ORANGE, GREEN, BLUE), strict=True))
_ACROSS = 4
_SMOOTHED = 25  # a line is the running mean of the phase's log over one in so many of its lines


@styled
def draw(log: Iterable[TrainingLine]) -> Figure:
    """What was right of new training batches, against the step of the phase. A panel for each kind of thing that the
    tower names, for the knowledge base and for each dataset; a line for each tier."""
    rows = [
        (line.phase, *_kind_and_tier(name), line.step, 100 * value)
        for line in log
        for name, value in line.accuracy.items()
    ]
    table = pd.DataFrame(rows, columns=["phase", "kind", "tier", "step", "right"])
    panels = list(table.groupby(["phase", "kind"], sort=False))
    figure = Figure(figsize=(PAGE_IN, 1.4 * -(-len(panels) // _ACROSS) + 0.3))
    axes = figure.subplots(-(-len(panels) // _ACROSS), _ACROSS, squeeze=False, sharey=True)
    for panel in axes.flat[len(panels) :]:
        panel.remove()
    for panel, ((phase, kind), shown) in zip(axes.flat, panels, strict=False):
        _draw_lines(panel, shown)
        panel.set_title(f"{phase}: {kind}")
        panel.set_ylim(0, 100)
        panel.grid(axis="y")
    for row in axes:
        row[0].set_ylabel("Right (%)")
    handles = {tier: Line2D([], [], color=colour) for tier, colour in _COLOURS.items()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def _draw_lines(axes: Axes, shown: pd.DataFrame) -> None:
    for tier, line in shown.groupby("tier"):
        smooth = line["right"].rolling(max(1, len(line) // _SMOOTHED), min_periods=1, center=True).mean()
        axes.plot(line["step"], smooth, color=_COLOURS.get(tier, EDGE))
    axes.set_xlabel("Step")


def _kind_and_tier(name: str) -> tuple[str, str]:
    """Of a name in the log: `digit high`, `easy_vqa low`, `knowledge`."""
    kind, _, tier = name.partition(" ")
    return kind, tier
