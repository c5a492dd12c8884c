"""Means and single cells of the controllers' time."""

import numpy as np
import pytest

from adamolmo.report.figures.style import in_order


def test_overhead_shows_means_and_every_cell(figures, summary):
    for axes, column in zip(figures["overhead"].axes, ["controller_ms", "controller_share_pct"], strict=True):
        means = summary.groupby("controller")[column].mean()
        bars = [bar.get_width() for container in axes.containers for bar in container]
        assert bars == pytest.approx(means[in_order(means.index)[::-1]].tolist())
        cells = sorted(np.concatenate([line.get_xdata() for line in axes.lines]))
        assert cells == pytest.approx(sorted(summary[column]))
