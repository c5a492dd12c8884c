"""Accuracy against latency, budgets, and the gain of every controller."""

import numpy as np
import pytest
import study_data
from figure_checks import main_panels

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.summary import full_latency_ms, static_configs
from adamolmo.report.figures import pareto
from adamolmo.report.figures.style import in_order, look
from adamolmo.statistics.pareto import frontier


def test_pareto_shows_each_controllers_accuracy_and_latency(figures, summary):
    for axes in main_panels(figures["pareto"]):
        cells = summary[summary["dataset"] == axes.get_title()]
        drawn = {
            (line.get_color(), line.get_linestyle()): line.get_xydata()
            for line in axes.lines
            if len(line.get_xydata()) == 5
        }
        for name in study_data.CONTROLLERS[1:]:
            expected = cells.loc[cells["controller"] == name, ["latency_p50_ms", "accuracy"]].to_numpy() * [1, 100]
            np.testing.assert_allclose(drawn[look(name).color, look(name).linestyle], expected)
        one = cells[cells["controller"] == "lookup-mean"]
        (band,) = (area.get_paths()[0].get_extents() for area in axes.collections)
        assert (band.y0, band.y1) == pytest.approx((100 * one["accuracy_low"].min(), 100 * one["accuracy_high"].max()))


def test_a_static_controller_is_one_point(figures, summary):
    for axes in main_panels(figures["pareto"]):
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] == "static-full")]
        (star,) = (line.get_xydata() for line in axes.lines if line.get_marker() == "*")
        np.testing.assert_allclose(star, [[cells["latency_p50_ms"].median(), 100 * cells["accuracy"].mean()]])


def test_pareto_shows_the_paired_gain_of_every_controller(figures, summary):
    comparisons = study_data.comparisons(summary).query("other == 'lookup-mean'")
    panels = [axes for axes in figures["pareto"].axes if "Gain over lookup-mean" in axes.get_xlabel()]
    for axes, dataset in zip(panels, study_data.DATASETS, strict=True):
        gains = comparisons[comparisons["dataset"] == dataset].set_index(["controller", "budget"])
        names = [name for name in in_order(study_data.CONTROLLERS) if name != "lookup-mean"]
        for name, bars in zip(names, axes.containers, strict=True):
            mean = gains.loc[name, "all"]
            (segment,) = bars.lines[2][0].get_segments()
            assert bars.lines[0].get_xdata() == pytest.approx([100 * mean["accuracy_gain"]])
            assert segment[:, 0] == pytest.approx(
                100 * mean[["accuracy_gain_low", "accuracy_gain_high"]].to_numpy(float)
            )
            each = 100 * gains.loc[name].drop("all")["accuracy_gain"]
            row = in_order(study_data.CONTROLLERS).index(name) + 0.3
            small = [line for line in axes.lines if line.get_ydata()[0] == pytest.approx(row)]
            reach = axes.get_xlim()[1]
            assert len(small) == len(each)
            for dot, gain in zip(small, each, strict=True):
                inside = abs(gain) <= reach
                assert dot.get_marker() == ("o" if inside else ">" if gain > 0 else "<")
                assert dot.get_xdata()[0] == pytest.approx(gain if inside else np.sign(gain) * 0.97 * reach)


def test_pareto_shows_the_static_configs_and_their_frontier(figures, profile):
    for axes in main_panels(figures["pareto"]):
        grid = static_configs(profile[profile["dataset"] == axes.get_title()])
        points = grid[["latency_ms", "accuracy"]].to_numpy() * [1, 100]
        cloud, steps = axes.lines[:2]
        np.testing.assert_allclose(cloud.get_xydata(), points)
        np.testing.assert_allclose(steps.get_xydata(), points[frontier(points[:, 0], points[:, 1])])
        assert len(points) == 75


def test_pareto_marks_budgets_that_no_config_or_every_config_meets_and_cells_over_their_budget(figures, summary):
    for axes in main_panels(figures["pareto"]):
        cells = summary[summary["dataset"] == axes.get_title()]
        none, every = axes.lines[-2:]
        (impossible,) = cells.loc[cells["budget"] == "25pct", "budget_ms"].unique()
        (easy,) = cells.loc[cells["budget"] == "105pct", "budget_ms"].unique()
        assert none.get_xdata().tolist() == [impossible]
        assert every.get_xdata().tolist() == [easy]
        over = cells[(cells["latency_p50_ms"] > cells["budget_ms"]) & (cells["controller"] != "static-full")]
        white = [line.get_xdata() for line in axes.lines if line.get_markerfacecolor() == "white" and line is not every]
        assert sorted(np.concatenate(white)) == sorted(over["latency_p50_ms"])


def test_pareto_has_a_second_axis_in_percent_of_the_full_config(figures, profile):
    for axes in main_panels(figures["pareto"]):
        (above,) = axes.child_axes
        full = full_latency_ms(static_configs(profile[profile["dataset"] == axes.get_title()]))
        np.testing.assert_allclose(above.get_xlim(), np.array(axes.get_xlim()) / full * 100)


def test_pareto_of_a_dataset_without_profile_is_refused(summary, profile, tmp_path):
    rows = profile[profile["dataset"] != "okvqa"]
    with pytest.raises(AdaMolmoError, match="'okvqa' is in the summary but not in the profile"):
        pareto.draw(summary, rows, study_data.comparisons(summary), tmp_path / "pareto")
