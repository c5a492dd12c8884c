"""The logs' running means."""

import numpy as np
import pytest
import study_data


def test_training_curves_show_running_means_of_the_logs(figures):
    log = study_data.training_log()
    for axes, column, scale in zip(
        figures["training_curves"].axes,
        ["reward", "accuracy", "violation_rate", "entropy"],
        [1, 100, 100, 1],
        strict=True,
    ):
        smooth, raw = axes.lines[0].get_ydata(), scale * log[column].to_numpy()
        assert np.diff(smooth).std() < 0.3 * np.diff(raw).std()
        assert smooth[-60:].mean() == pytest.approx(raw[-60:].mean(), rel=0.03)
