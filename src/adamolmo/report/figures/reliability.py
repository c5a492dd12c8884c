"""Whether the probabilities that predictors give come true."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamolmo.report.figures import style
from adamolmo.report.figures.panels import error_bars, legend_below
from adamolmo.report.figures.style import in_order, look, styled

_AS_PREDICTED = {"color": style.GREY, "linewidth": 0.8, "linestyle": (0, (4, 2))}
_INTERVAL = {"color": style.EDGE, "linestyle": ""}
_ASIDE = {"color": style.GREY, "fontsize": style.TEXT_PT}


@styled
def draw(reliability: Mapping[str, pd.DataFrame], width: float) -> Figure:
    """Per predictor its reliability diagram: the observed share of right answers against the predicted one by bin.

    `reliability` maps a predictor to its table: predicted, observed with its interval, num_predictions.
    """
    predictors = in_order(reliability)
    shown = min(width, 0.5 + 1.6 * len(predictors))
    side_in = min((shown - 0.5) / len(predictors) - 0.1, 1.8)  # of a diagram
    figure = Figure(figsize=(shown, side_in + 0.75))
    (diagrams,) = figure.subplots(1, len(predictors), squeeze=False, sharex=True, sharey=True)
    for axes, name in zip(diagrams, predictors, strict=True):
        _diagram(axes, name, reliability[name])
        axes.set_xlabel("Predicted (%)")
    diagrams[0].set_ylabel("Right (%)")
    legend_below(
        figure,
        [
            Line2D([], [], label="as predicted", **_AS_PREDICTED),
            Line2D([], [], label="95 % interval", marker="|", markersize=7, mew=0.8, **_INTERVAL),
        ],
    )
    return figure


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error (Naeini et al., 2015) in points: mean over the predictions of how far the share of
    right answers in their bin is from the mean prediction."""
    gap = (bins["predicted"] - bins["observed"]).abs()
    return 100 * (gap * bins["num_predictions"]).sum() / bins["num_predictions"].sum()


def _diagram(axes: Axes, name: str, bins: pd.DataFrame) -> None:
    axes.set_title(f"{name}\noff by {calibration_error(bins):.1f} points", fontsize=6.5)
    axes.set_box_aspect(1)
    axes.plot([0, 100], [0, 100], **_AS_PREDICTED)
    predicted, observed = 100 * bins["predicted"], 100 * bins["observed"]
    small = look(name).filled | {"markersize": 3.0, "mec": look(name).color}
    axes.plot(predicted, observed, **small, linestyle="", clip_on=False)
    axes.errorbar(predicted, observed, 100 * error_bars(bins, "observed"), elinewidth=0.8, zorder=3, **_INTERVAL)
    axes.set(xlim=(0, 100), ylim=(0, 100), xticks=(0, 50, 100), yticks=(0, 50, 100))
    axes.grid()
    axes.text(5, 95, "too low", va="top", **_ASIDE)
    axes.text(95, 5, "too high", ha="right", **_ASIDE)
