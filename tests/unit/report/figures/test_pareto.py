"""Accuracy against latency, budgets, and the gain of every controller."""

import numpy as np
import pytest
import study_data
from figure_checks import draw, main_panels

from adamolmo.budgets import kind_of
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.equal_latency import concave_hull
from adamolmo.evaluation.summary import static_configs
from adamolmo.files.columns import KNOBS
from adamolmo.report.figures.style import in_order, look


def test_pareto_shows_each_controllers_accuracy_and_latency(figures, summary):
    for axes in main_panels(figures["pareto"]):
        cells = summary[summary["dataset"] == axes.get_title()]
        drawn = {
            (line.get_color(), line.get_linestyle()): line.get_xydata()
            for line in axes.lines
            if len(line.get_xydata()) == 5
        }
        for name in study_data.CONTROLLERS[1:]:
            expected = cells.loc[cells["controller"] == name, ["latency_mean_ms", "accuracy"]].to_numpy() * [1, 100]
            np.testing.assert_allclose(drawn[look(name).color, look(name).linestyle], expected)
        one = cells[cells["controller"] == "lookup-mean"]
        (band,) = (area.get_paths()[0].get_extents() for area in axes.collections)
        assert (band.y0, band.y1) == pytest.approx((100 * one["accuracy_low"].min(), 100 * one["accuracy_high"].max()))


def test_a_static_controller_is_one_point(figures, summary):
    for axes in main_panels(figures["pareto"]):
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] == "static-full")]
        (star,) = (line.get_xydata() for line in axes.lines if line.get_marker() == "*")
        np.testing.assert_allclose(star, [[cells["latency_mean_ms"].median(), 100 * cells["accuracy"].mean()]])


@pytest.mark.parametrize("study", ["figures", "figures_of_all_kinds"])
def test_pareto_shows_the_gain_over_the_static_mixture_of_the_same_mean_latency(study, request):
    """Over the budgets of the kind whose cells are joined: the mean, if the study promises one."""
    figures = request.getfixturevalue(study)
    kind = "mean" if study == "figures_of_all_kinds" else "per-request"
    table = figures.inputs["equal_latency"]
    table = table[table["budget"].map(kind_of) == kind]
    panels = [axes for axes in figures["pareto"].axes if axes.get_xlabel() == "Gain at equal latency (points)"]
    for axes, dataset in zip(panels, study_data.DATASETS, strict=True):
        gains = table[table["dataset"] == dataset].set_index(["controller", "budget"]).sort_index()
        low, high = axes.get_xlim()
        assert any(line.get_xdata() == [0, 0] for line in axes.lines)  # the zero line
        names = in_order(study_data.CONTROLLERS)
        for row, (name, bars) in enumerate(zip(names, axes.containers, strict=True)):
            mean = gains.loc[name, kind]
            (segment,) = bars.lines[2][0].get_segments()
            assert bars.lines[0].get_xdata() == pytest.approx([100 * mean["gain"]])
            assert segment[:, 0] == pytest.approx(100 * mean[["gain_low", "gain_high"]].to_numpy(float))
            each = 100 * gains.loc[name].drop(kind)["gain"]
            small = [line for line in axes.lines if line.get_ydata()[0] == pytest.approx(row + 0.3)]
            assert len(small) == len(each)
            for dot, gain in zip(small, each, strict=True):
                inside = low <= gain <= high
                assert dot.get_marker() == ("o" if inside else ">" if gain > 0 else "<")
                assert dot.get_xdata()[0] == pytest.approx(gain if inside else 0.97 * (high if gain > 0 else low))


def test_pareto_joins_the_cells_of_one_kind_of_budget_and_shows_the_others_small(
    figures_of_all_kinds, summary_of_all_kinds
):
    for axes in main_panels(figures_of_all_kinds["pareto"]):
        cells = summary_of_all_kinds.query("dataset == @axes.get_title() and controller == 'lookup-mean'")
        of_mean = cells["budget"].str.endswith("-mean")
        own = [line for line in axes.lines if line.get_color() == look("lookup-mean").color]
        points = cells[["latency_mean_ms", "accuracy"]] * [1, 100]
        (joined,) = [line for line in own if line.get_linestyle() == "-"]
        np.testing.assert_allclose(joined.get_xydata(), points[of_mean])
        (others,) = [line for line in axes.lines if line.get_markersize() == 2.2 and _has_colour(line, "lookup-mean")]
        np.testing.assert_allclose(others.get_xydata(), points[~of_mean])


def _has_colour(line, name: str) -> bool:
    return line.get_markerfacecolor() == look(name).color and line.get_marker() == look(name).marker


def test_pareto_shows_the_static_configs_and_their_mixtures_on_the_evaluation_questions(figures, profile):
    """Chosen on the profile, counted on the evaluation questions: a table that looks back at its own is not better."""
    asked = figures.inputs["grid"]
    for axes in main_panels(figures["pareto"]):
        learned, found = (
            static_configs(rows[rows["dataset"] == axes.get_title()])[[*KNOBS, "latency_mean_ms", "accuracy"]]
            for rows in (profile, asked)
        )
        cloud, mixtures = axes.lines[:2]
        points = found[["latency_mean_ms", "accuracy"]].to_numpy() * [1, 100]
        np.testing.assert_allclose(cloud.get_xydata(), points)
        hull = concave_hull(learned["latency_mean_ms"].to_numpy(), learned["accuracy"].to_numpy())
        np.testing.assert_allclose(mixtures.get_xydata(), points[hull][np.argsort(points[hull, 0])])
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
        assert sorted(np.concatenate(white)) == sorted(over["latency_mean_ms"])


def test_pareto_has_a_second_axis_in_percent_of_the_full_config(figures, figures_of_all_kinds, summary):
    """Of the latency that percent budgets refer to."""
    for study in (figures, figures_of_all_kinds):
        for axes in main_panels(study["pareto"]):
            (above,) = axes.child_axes
            cell = summary.query("dataset == @axes.get_title() and budget == '80pct'").iloc[0]
            np.testing.assert_allclose(above.get_xlim(), np.array(axes.get_xlim()) / cell["budget_ms"] * 80)


@pytest.mark.parametrize("without", ["profile", "grid"])
def test_pareto_of_a_dataset_without_profile_is_refused(figures, without):
    rows = figures.inputs[without]
    inputs = figures.inputs | {without: rows[rows["dataset"] != "okvqa"]}
    with pytest.raises(AdaMolmoError, match="'okvqa' is in the summary but not in the profile"):
        draw("pareto", inputs)
