"""Draws any figure of the report from made-up results, and checks how it is laid out."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import study_data
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from adamolmo.report import figures
from adamolmo.report.figures.style import PAGE_IN, styled

_SHARED = {"__init__", "style", "panels"}
FIGURES = sorted({path.stem for path in Path(figures.__file__).parent.glob("*.py")} - _SHARED)


def figure_inputs(summary: pd.DataFrame, profile: pd.DataFrame) -> dict[str, object]:
    """What figures read, by the names of `report.inputs`."""
    return {
        "summary": summary,
        "streams": study_data.streams(summary),
        "profile": profile,
        "grid": study_data.profile(samples=60, seed=1),
        "comparisons": study_data.comparisons(summary),
        "equal_latency": study_data.equal_latency(summary),
        "promises": study_data.promises(summary),
        "hypervolumes": study_data.hypervolumes(summary),
        "scores": study_data.importance_scores(),
        "timing": dict.fromkeys(profile["dataset"].unique(), study_data.TIMING),
        "training": {
            "two-stage-budget": study_data.training_log(),
            "single-stage-mlp": study_data.training_log(seed=2),
        },
        "reliability": {
            "predict-question": study_data.reliability(too_sure=0.5),
            "predict-overview": study_data.reliability(),
            "predict-neighbours": study_data.reliability(),
        },
    }


@styled
def draw(name: str, inputs: dict[str, object], width: float = PAGE_IN) -> Figure:
    """The figure of that name, from those of the inputs that it reads, laid out as when it is saved."""
    module = import_module(f"adamolmo.report.figures.{name}")
    read = signature(module.draw).parameters.keys() & inputs.keys()
    figure = module.draw(**{key: inputs[key] for key in read}, width=width)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def main_panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title() in study_data.DATASETS]


@styled  # the number of ticks depends on the style at drawing time
def check_layout(figure: Figure) -> None:
    """Texts lie on the page and apart from each other; the legend lies apart from the panels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = []
    with mock.patch.object(Text, "draw", lambda text, _: texts.append(text)):  # ticks exist that are never drawn
        figure.draw_without_rendering()
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    assert len(texts) > 10
    x0, y0, x1, y1 = np.array([text.get_window_extent(renderer).extents for text in texts]).T
    page = figure.bbox
    for index in np.flatnonzero(np.minimum.reduce([x0, y0, page.x1 - x1, page.y1 - y1]) < 0):
        pytest.fail(f"'{texts[index].get_text()}' leaves the page")
    across, up = (np.minimum.outer(last, last) - np.maximum.outer(first, first) for first, last in ((x0, x1), (y0, y1)))
    for first, second in zip(*np.nonzero(np.triu(np.minimum(across, up) > 0, k=1)), strict=True):
        pytest.fail(f"'{texts[first].get_text()}' overlaps '{texts[second].get_text()}'")
    (legend,) = (legend.get_window_extent(renderer) for legend in figure.legends)
    assert min(legend.x0, legend.y0, page.x1 - legend.x1) >= 0
    assert all(legend.y1 <= axes.get_tightbbox(renderer).y0 for axes in figure.findobj(Axes))
