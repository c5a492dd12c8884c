"""What is predicted against what happened."""

import numpy as np
import pandas as pd
import pytest
import study_data
from figure_checks import check_layout, draw

from adamolmo.report.figures.reliability import calibration_error
from adamolmo.report.figures.style import look

ERROR = 50 * abs(np.linspace(0.05, 0.98, 10) - 0.5).mean()  # in points, of predictions twice as far from one half


def test_a_column_per_predictor_has_bins_and_intervals(figures):
    for diagram, name in zip(figures["reliability"].axes, figures.inputs["reliability"], strict=True):
        bins = figures.inputs["reliability"][name]
        (diagonal, points, *_) = diagram.lines
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        np.testing.assert_allclose(points.get_xydata(), 100 * bins[["predicted", "observed"]])
        assert points.get_marker() == look(name).marker
        bars = np.array(diagram.collections[0].get_segments())[:, :, 1]
        np.testing.assert_allclose(bars, 100 * bins[["observed_low", "observed_high"]])


def test_the_title_says_how_far_off_predictions_are(figures):
    titles = [axes.get_title() for axes in figures["reliability"].axes]
    assert titles == [
        f"predict-question\noff by {ERROR:.1f} points",
        "predict-overview\noff by 0.0 points",
        "predict-neighbours\noff by 0.0 points",
    ]


def test_calibration_error_weighs_bins_by_their_predictions():
    bins = pd.DataFrame({"predicted": [0.2, 0.7], "observed": [0.3, 0.7], "num_predictions": [100, 300]})
    assert calibration_error(bins) == pytest.approx(2.5)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_predictors_are_drawn_well_too(figures, count):
    some = dict(list(figures.inputs["reliability"].items())[:count])
    check_layout(draw("reliability", {"reliability": some}))


def test_a_predictor_that_says_the_same_of_all_has_one_bin():
    tables = {"predict-overview": study_data.reliability(bins=1)}
    check_layout(draw("reliability", {"reliability": tables}))
