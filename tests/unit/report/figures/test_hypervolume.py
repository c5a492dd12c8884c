"""What is filled in the figure of hypervolumes."""

import pytest
import study_data
from figure_checks import main_panels

from adamolmo.report.figures.style import in_order


def test_hypervolume_fills_only_what_differs_from_the_baseline(figures, summary):
    table = study_data.hypervolumes(summary)
    for axes in main_panels(figures["hypervolume"]):
        rows = table[table["dataset"] == axes.get_title()].set_index("controller").loc[in_order(table["controller"])]
        drawn = [bars.lines[0] for bars in axes.containers]
        assert [line.get_xdata()[0] for line in drawn] == pytest.approx(100 * rows["hypervolume"])
        filled = [line.get_markerfacecolor() != "white" for line in drawn]
        expected = (rows["gain_low"] > 0) | (rows["gain_high"] < 0) | (rows.index == "lookup-mean")
        assert filled == expected.tolist()
