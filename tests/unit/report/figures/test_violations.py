"""Rates, bounds, promises, impossible budgets, and rates at the profile's speed."""

import matplotlib
import numpy as np
import pytest
import study_data

from adamolmo.report.figures import style, violations
from adamolmo.report.figures.style import in_order, look
from adamolmo.report.results import budgets_of


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


def test_violations_tell_kept_from_broken_and_from_never_promised(figures_of_all_kinds, summary_of_all_kinds):
    names, found = in_order(study_data.CONTROLLERS), set()
    for axes in figures_of_all_kinds["violations"].axes:
        cells = summary_of_all_kinds[summary_of_all_kinds["dataset"] == axes.get_title()]
        budgets = [*budgets_of(cells).index]
        for line in [line for line in axes.lines if line.get_marker() == "o"]:
            name = names[round(line.get_ydata()[0])]
            budget = budgets[round(line.get_xdata()[0])]
            cell = cells[(cells["controller"] == name) & (cells["budget"] == budget)].iloc[0]
            expected = "white"
            if budget.endswith("-p95") and name != "static-full":  # which heeds no budget
                expected = style.BLACK if cell["violation_rate_low"] > 0.05 else look(name).color
            assert line.get_markerfacecolor() == expected
            found.add((name == "topk-only", budget.endswith("-p95"), expected == "white", expected == style.BLACK))
    assert {(True, True, False, True), (False, True, False, False), (False, False, True, False)} <= found


def test_violations_have_a_tick_at_what_is_promised(figures_of_all_kinds):
    height = 0.78 * (0.5 - np.sqrt(0.05))
    for axes in figures_of_all_kinds["violations"].axes:
        two = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 2]
        ticks = [line for line in two if np.ptp(line[:, 0]) == pytest.approx(0.6)]
        drawn = [tick for tick in ticks if np.isfinite(tick).all()]
        heeding = [row for row, name in enumerate(in_order(study_data.CONTROLLERS)) if name != "static-full"]
        assert len(drawn) == 3 * len(heeding)  # three budgets with -p95
        assert sorted({round(y - height, 9) for ((_, y), _) in drawn}) == heeding


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
    governed = slow.copy()
    governed.loc[cell, "budget"] += "-p95"  # a governor answers for it, on the device as it was
    assert crosses(governed)[0] == []
