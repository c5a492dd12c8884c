"""The logs and their running means."""

import numpy as np
import pytest
import study_data


def test_training_curves_show_the_logs(figures):
    log = study_data.training_log()
    for axes, column, scale in zip(
        figures["training_curves"].axes,
        ["reward", "accuracy", "violation_rate", "entropy"],
        [1, 100, 100, 1],
        strict=True,
    ):
        raw, smooth = axes.lines[:2]
        np.testing.assert_allclose(raw.get_ydata(), scale * log[column])
        assert np.diff(smooth.get_ydata()).std() < 0.3 * np.diff(raw.get_ydata()).std()
        assert smooth.get_ydata()[-60:].mean() == pytest.approx(raw.get_ydata()[-60:].mean(), rel=0.03)
