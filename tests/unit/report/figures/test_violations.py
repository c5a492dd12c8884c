"""Rates, bounds, promises, impossible budgets, and rates at the profile's speed."""

import matplotlib
import numpy as np
import study_data

from adamolmo.report.figures import style, violations
from adamolmo.report.figures.style import in_order, look


def test_violations_shows_rates_with_their_bounds_and_shades_impossible_budgets(figures, summary):
    row = in_order(study_data.CONTROLLERS).index("lookup-mean")
    for axes in figures["violations"].axes:
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] == "lookup-mean")]

        def rates(heights, row=row):
            return (0.5 - (np.asarray(heights) - row) / 0.78) ** 2

        bars = axes.containers[row]
        x, y = bars.lines[0].get_xydata().T
        np.testing.assert_allclose(rates(y), cells["violation_rate"], atol=1e-12)
        np.testing.assert_allclose(x, range(5))
        bounds = [rates(segment[:, 1])[::-1] for segment in bars.lines[2][0].get_segments()]
        np.testing.assert_allclose(bounds, cells[["violation_rate_low", "violation_rate_high"]], atol=1e-12)
        shaded = [p for p in axes.patches if matplotlib.colors.to_hex(p.get_facecolor()).upper() == style.ALARM]
        assert [(p.get_x(), p.get_width()) for p in shaded] == [(-0.5, 1.0)]
        color = look("lookup-mean").color
        markers = [line for line in axes.lines if line.get_marker() == "o" and line.get_markeredgecolor() == color]
        filled = [line.get_markerfacecolor() != "white" for line in markers]
        misses = (cells["violation_rate"] * cells["num_samples"]).round()
        assert filled == (misses <= 7).tolist()  # of 300 requests at most 7 may miss


def test_violations_shows_the_rates_at_the_profile_speed_where_it_was_another(summary, tmp_path):
    def crosses(cells):
        figure = violations.draw(cells, tmp_path / "violations")
        lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
        legend = any("as fast as during the profile" in text.get_text() for text in figure.legends[0].get_texts())
        return [place for line in lines for place in line.get_xydata().tolist()], legend

    assert crosses(summary) == ([], False)
    cell = summary.query("dataset == 'okvqa' and controller == 'lookup-mean'").sort_values("budget_ms").index[1]
    slow = summary.copy()
    slow.loc[cell, ["slowdown", "violation_rate_at_profile_speed"]] = [1.4, 0.25]
    row = in_order(study_data.CONTROLLERS).index("lookup-mean")
    assert crosses(slow) == ([[1, row]], True)  # on the root scale 25 % is the middle of the strip
