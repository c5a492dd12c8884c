"""What the figures show, that nothing overlaps, and that equal data give equal files."""

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
import pandas as pd
import pytest
import study_data
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from PIL import Image

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.summary import collect, full_latency_ms, static_configs
from adamolmo.report.figures import style
from adamolmo.report.figures.budgets import knob_distribution, violations
from adamolmo.report.figures.controllers import overhead, training_curves
from adamolmo.report.figures.gains import gains, hypervolume
from adamolmo.report.figures.importance import importance
from adamolmo.report.figures.pareto import pareto
from adamolmo.report.figures.profile import repeatability, stage_times
from adamolmo.report.figures.style import LOOKS, PAGE_IN, in_order, look, styled
from adamolmo.statistics.intervals import Resampling, mean_intervals
from adamolmo.statistics.pareto import frontier

DPI = 200
OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
FIGURES = {
    "pareto": pareto,
    "gains": gains,
    "hypervolume": hypervolume,
    "violations": violations,
    "knob_distribution": knob_distribution,
    "overhead": overhead,
    "training_curves": training_curves,
    "stage_times": stage_times,
    "repeatability": repeatability,
    "importance": importance,
}
TIMING = dict.fromkeys(study_data.DATASETS, study_data.TIMING)


@pytest.fixture(scope="module")
def profile() -> pd.DataFrame:
    return study_data.profile(samples=60)


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> pd.DataFrame:
    return collect(study_data.write_cells(tmp_path_factory.mktemp("cells")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("plots")


class Drawn(dict):
    """Figure by name, drawn when first asked for."""

    def __init__(self, summary: pd.DataFrame, profile: pd.DataFrame, folder: Path) -> None:
        logs = {"two-stage-budget": study_data.training_log(), "single-stage-mlp": study_data.training_log(seed=2)}
        self.folder = folder
        comparisons = study_data.comparisons(summary)
        self.arguments = {
            "pareto": (summary, profile, comparisons),
            "gains": (summary, comparisons),
            "hypervolume": (study_data.hypervolumes(summary),),
            "knob_distribution": (summary, profile),
            "violations": (summary,),
            "overhead": (summary,),
            "training_curves": (logs,),
            "stage_times": (profile,),
            "repeatability": (profile, TIMING),
            "importance": (study_data.importance_scores(), profile),
        }

    def __missing__(self, name: str) -> Figure:
        self[name] = FIGURES[name](*self.arguments[name], self.folder / name)
        return self[name]


@pytest.fixture(scope="module")
def figures(summary, profile, folder) -> Drawn:
    return Drawn(summary, profile, folder)


@pytest.mark.parametrize("name", FIGURES)
def test_both_files_have_paper_width_and_no_date(figures, folder, name):
    figures[name]
    assert Image.open(folder / f"{name}.png").width == round(DPI * PAGE_IN)
    pdf = (folder / f"{name}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"Date" not in pdf


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_leaves_the_page(figures, name):
    _check_layout(figures[name])


def test_nothing_overlaps_with_all_controllers_and_eight_budgets_in_milliseconds(profile, tmp_path):
    budgets = [f"{ms}ms" for ms in (9, 12, 15, 18, 21, 24, 29, 38)]
    cells = collect(study_data.write_cells(tmp_path, [*LOOKS, "static-low-k4-b12", "oracle"], budgets))
    comparisons = study_data.comparisons(cells)
    _check_layout(pareto(cells, profile, comparisons, tmp_path / "pareto"))
    _check_layout(gains(cells, comparisons, tmp_path / "gains"))
    _check_layout(hypervolume(study_data.hypervolumes(cells), tmp_path / "hypervolume"))
    _check_layout(knob_distribution(cells, profile, tmp_path / "knobs"))
    _check_layout(violations(cells, tmp_path / "violations"))
    _check_layout(overhead(cells, tmp_path / "overhead"))


@pytest.mark.parametrize("count", [1, 9])
def test_one_dataset_or_nine(summary, profile, tmp_path, count):
    def times(table: pd.DataFrame) -> pd.DataFrame:
        one = table[table["dataset"] == "okvqa"]
        return pd.concat([one.assign(dataset=f"dataset_{i}") for i in range(count)], ignore_index=True)

    cells, comparisons, rows = times(summary), times(study_data.comparisons(summary)), times(profile)
    _check_layout(pareto(cells, rows, comparisons, tmp_path / "pareto"))
    _check_layout(gains(cells, comparisons, tmp_path / "gains"))
    _check_layout(hypervolume(times(study_data.hypervolumes(summary)), tmp_path / "hypervolume"))
    _check_layout(violations(cells, tmp_path / "violations"))
    _check_layout(knob_distribution(cells, rows, tmp_path / "knobs"))
    _check_layout(stage_times(rows, tmp_path / "stages"))
    timing = dict.fromkeys(rows["dataset"].unique(), study_data.TIMING)
    _check_layout(repeatability(rows, timing, tmp_path / "repeatability"))


def test_the_smallest_study_is_drawn_well_too(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full", "lookup-mean"], ["60pct", "105pct"]))
    cells = cells[cells["dataset"] != "okvqa"].assign(controller_ms=0.0, controller_share_pct=0.0)
    rows = profile.query("dataset != 'okvqa'").assign(accuracy=0.0, latency_iqr_ms=0.0, latency_source="modelled")
    flat = {"3": 0.0, "4": 0.0}
    scores = {"scores": flat, "removal_order": [4, 3], "datasets": {"okvqa": {"scores": flat}}}
    untimed = dict.fromkeys(TIMING, dict.fromkeys(study_data.TIMING))
    comparisons = study_data.comparisons(cells)
    _check_layout(pareto(cells, rows, comparisons, tmp_path / "pareto"))
    _check_layout(gains(cells, comparisons, tmp_path / "gains"))
    _check_layout(knob_distribution(cells, rows, tmp_path / "knobs"))
    _check_layout(violations(cells, tmp_path / "violations"))
    _check_layout(overhead(cells, tmp_path / "overhead"))
    _check_layout(training_curves({"two-stage-budget": study_data.training_log(1)}, tmp_path / "training"))
    _check_layout(stage_times(rows, tmp_path / "stages"))
    _check_layout(repeatability(rows, untimed, tmp_path / "repeatability"))
    _check_layout(importance(scores, rows, tmp_path / "importance"))


def test_a_study_of_one_controller_is_drawn_without_comparisons(profile, summary, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full"], ["60pct"]))
    none = study_data.comparisons(summary).iloc[:0]
    assert not any(axes.patches for axes in knob_distribution(cells, profile, tmp_path / "knobs").axes)
    _check_layout(pareto(cells, profile, none, tmp_path / "pareto"))
    gains(cells, none, tmp_path / "gains")


def _main_panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title() in study_data.DATASETS]


def test_pareto_shows_each_controllers_accuracy_and_latency(figures, summary):
    for axes in _main_panels(figures["pareto"]):
        cells = summary[summary["dataset"] == axes.get_title()]
        drawn = {line.get_color(): line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 5}
        for name in study_data.CONTROLLERS[1:]:
            expected = cells.loc[cells["controller"] == name, ["latency_p50_ms", "accuracy"]].to_numpy() * [1, 100]
            np.testing.assert_allclose(drawn[look(name).color], expected)
        one = cells[cells["controller"] == "lookup-mean"]
        (band,) = (area.get_paths()[0].get_extents() for area in axes.collections)
        assert (band.y0, band.y1) == pytest.approx((100 * one["accuracy_low"].min(), 100 * one["accuracy_high"].max()))


def test_a_static_controller_is_one_point(figures, summary):
    for axes in _main_panels(figures["pareto"]):
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
    for axes in _main_panels(figures["pareto"]):
        grid = static_configs(profile[profile["dataset"] == axes.get_title()])
        points = grid[["latency_ms", "accuracy"]].to_numpy() * [1, 100]
        cloud, steps = axes.lines[:2]
        np.testing.assert_allclose(cloud.get_xydata(), points)
        np.testing.assert_allclose(steps.get_xydata(), points[frontier(points[:, 0], points[:, 1])])
        assert len(points) == 75


def test_pareto_marks_budgets_that_no_config_or_every_config_meets_and_cells_over_their_budget(figures, summary):
    for axes in _main_panels(figures["pareto"]):
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
    for axes in _main_panels(figures["pareto"]):
        (above,) = axes.child_axes
        full = full_latency_ms(static_configs(profile[profile["dataset"] == axes.get_title()]))
        np.testing.assert_allclose(above.get_xlim(), np.array(axes.get_xlim()) / full * 100)


def test_pareto_of_a_dataset_without_profile_is_refused(summary, profile, tmp_path):
    rows = profile[profile["dataset"] != "okvqa"]
    with pytest.raises(AdaMolmoError, match="'okvqa' is in the summary but not in the profile"):
        pareto(summary, rows, study_data.comparisons(summary), tmp_path / "pareto")


def test_gains_show_every_number_and_frame_what_the_test_supports(figures, summary):
    comparisons = study_data.comparisons(summary).query("other == 'lookup-mean' and budget != 'all'")
    for axes in _main_panels(figures["gains"]):
        pairs = comparisons[comparisons["dataset"] == axes.get_title()]
        shown = [float(text.get_text()) for text in axes.texts]
        assert shown == pytest.approx(100 * pairs["accuracy_gain"], abs=0.0501)
        framed = [patch for patch in axes.patches if patch.get_edgecolor() == (0, 0, 0, 1) and not patch.get_fill()]
        assert len(framed) == (pairs["accuracy_p"] < 0.01).sum() > 0  # 0.0001 x 35 cells stays below 0.05
        hatched = [patch for patch in axes.patches if patch.get_hatch()]
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] != "lookup-mean")]
        assert len(hatched) == (cells["latency_p50_ms"] > cells["budget_ms"]).sum() > 0


def test_hypervolume_fills_only_what_differs_from_the_baseline(figures, summary):
    table = study_data.hypervolumes(summary)
    for axes in _main_panels(figures["hypervolume"]):
        rows = table[table["dataset"] == axes.get_title()].set_index("controller").loc[in_order(table["controller"])]
        drawn = [bars.lines[0] for bars in axes.containers]
        assert [line.get_xdata()[0] for line in drawn] == pytest.approx(100 * rows["hypervolume"])
        filled = [line.get_markerfacecolor() != "white" for line in drawn]
        expected = (rows["gain_low"] > 0) | (rows["gain_high"] < 0) | (rows.index == "lookup-mean")
        assert filled == expected.tolist()


def test_knob_distribution_stacks_the_shares_of_all_requests(figures, summary):
    first, *_, axes = figures["knob_distribution"].axes
    assert axes.get_title() == "text_vqa"
    controllers = [label.get_text() for label in first.get_yticklabels()]
    assert controllers == [name for name in study_data.CONTROLLERS if name != "static-full"]
    heights = {}  # (controller, place) -> {color: share}
    for bar in axes.patches:
        row = int(np.floor(bar.get_y() + bar.get_height() + 1e-9))
        place = round(bar.get_x() + bar.get_width() / 2)
        share = abs(bar.get_height()) / 0.82
        heights.setdefault((controllers[row], place), {})[matplotlib.colors.to_hex(bar.get_facecolor())] = share
    assert len(heights) == 7 * 3 * 5
    assert all(sum(shares.values()) == pytest.approx(1.0) for shares in heights.values())
    cell = summary.query("dataset == 'text_vqa' and controller == 'two-stage-budget' and budget == '105pct'")
    assert cell["knob_counts"].item() == '{"high-k7-b16": 70, "high-k8-b16": 230}'
    shades = style.shades(style.VERMILLION, 5)
    top_k = {color: share for color, share in heights["two-stage-budget", 10].items() if share}
    assert top_k == pytest.approx({shades[3]: 70 / 300, shades[4]: 230 / 300})


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
        figure = violations(cells, tmp_path / "violations")
        lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
        legend = any("as fast as during the profile" in text.get_text() for text in figure.legends[0].get_texts())
        return [place for line in lines for place in line.get_xydata().tolist()], legend

    assert crosses(summary) == ([], False)
    cell = summary.query("dataset == 'okvqa' and controller == 'lookup-mean'").sort_values("budget_ms").index[1]
    slow = summary.copy()
    slow.loc[cell, ["slowdown", "violation_rate_at_profile_speed"]] = [1.4, 0.25]
    row = in_order(study_data.CONTROLLERS).index("lookup-mean")
    assert crosses(slow) == ([[1, row]], True)  # on the root scale 25 % is the middle of the strip


def test_overhead_shows_means_and_every_cell(figures, summary):
    for axes, column in zip(figures["overhead"].axes, ["controller_ms", "controller_share_pct"], strict=True):
        means = summary.groupby("controller")[column].mean()
        bars = [bar.get_width() for container in axes.containers for bar in container]
        assert bars == pytest.approx(means[in_order(means.index)[::-1]].tolist())
        cells = sorted(np.concatenate([line.get_xdata() for line in axes.lines]))
        assert cells == pytest.approx(sorted(summary[column]))


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


def test_stage_times_stack_to_the_mean_latency(figures, profile):
    for axes, dataset in zip(figures["stage_times"].axes, study_data.DATASETS, strict=True):
        mean = (
            profile[profile["dataset"] == dataset].groupby(["tier", "top_k", "num_active_blocks"])["latency_ms"].mean()
        )
        tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
        expected = [
            mean[tier, k, b] for tier, k, b in itertools.product(("low", "medium", "high"), range(4, 9), range(12, 17))
        ]
        assert tops == pytest.approx(expected)


def test_importance_shows_every_drop_and_the_order_of_removal(figures):
    scores = study_data.importance_scores()
    heat = figures["importance"].axes[0]
    (mesh,) = heat.collections
    np.testing.assert_allclose(mesh.get_array()[0], 100 * np.array(list(scores["scores"].values())))
    last = scores["datasets"][study_data.DATASETS[-1]]["scores"]
    np.testing.assert_allclose(mesh.get_array()[-1], 100 * np.array(list(last.values())))
    order = [text for text in heat.texts if isinstance(text, Annotation)]
    assert [round(text.xy[0] - 0.5) + 3 for text in order] == scores["removal_order"]
    assert [text.get_text() for text in order] == [str(place) for place in range(1, 14)]


def test_importance_shows_accuracy_against_the_blocks_kept_with_intervals(figures, profile):
    kept = figures["importance"].axes[1]
    for bars, dataset in zip(kept.containers, study_data.DATASETS, strict=True):
        full = profile.query(f"dataset == '{dataset}' and tier == 'high' and top_k == 8")
        expected = 100 * full.groupby("num_active_blocks")["accuracy"].mean()
        np.testing.assert_allclose(bars.lines[0].get_ydata(), expected)
        at_16 = full.query("num_active_blocks == 16")
        _, low, high = mean_intervals(at_16["accuracy"], at_16["image_id"], resampling=Resampling(1000))[:, 0]
        np.testing.assert_allclose(bars.lines[2][0].get_segments()[-1][:, 1], [100 * low, 100 * high])


def test_repeatability_shows_the_spread_of_the_timed_requests_and_the_drift(figures, profile):
    for axes in _main_panels(figures["repeatability"]):
        rows = profile.query(f"dataset == '{axes.get_title()}' and tier == 'low' and latency_source == 'measured'")
        curve = axes.lines[0]
        np.testing.assert_allclose(curve.get_xdata(), sorted(100 * rows["latency_iqr_ms"] / rows["latency_ms"]))
        assert curve.get_ydata()[-1] == 100
        assert axes.texts[0].get_text() == "drift 3.2 % (limit 5 %)\nerror of estimates 8.4 %"


def test_the_oracle_is_a_dashed_upper_bound_and_no_controller(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, [*study_data.CONTROLLERS, "oracle"]))
    comparisons, areas = study_data.comparisons(cells), study_data.hypervolumes(cells)
    above, areas_figure = pareto(cells, profile, comparisons, tmp_path / "a"), hypervolume(areas, tmp_path / "b")
    others = [gains(cells, comparisons, tmp_path / "c"), violations(cells, tmp_path / "d")]
    others += [knob_distribution(cells, profile, tmp_path / "e"), overhead(cells, tmp_path / "f")]
    for figure in (above, areas_figure, *others):
        names = {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
        assert "two-stage-budget" in names and "oracle" not in names
    for figure in (above, areas_figure):
        assert sum(handle.get_label().startswith("oracle") for handle in figure.legends[0].legend_handles) == 1
    for axes in _main_panels(above):
        expected = cells[(cells["dataset"] == axes.get_title()) & (cells["controller"] == "oracle")]
        (bound,) = _dashed(axes)
        np.testing.assert_allclose(
            bound.get_xydata(), expected.sort_values("budget_ms")[["latency_p50_ms", "accuracy"]] * [1, 100]
        )
    for axes in _main_panels(areas_figure):
        (bound,) = _dashed(axes)
        (area,) = areas.loc[(areas["dataset"] == axes.get_title()) & (areas["controller"] == "oracle"), "hypervolume"]
        assert bound.get_xdata()[0] == pytest.approx(100 * area)


def _dashed(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_color() == style.BLACK and line.get_linestyle() == "--"]


def test_a_controller_has_one_look_in_every_figure(figures):
    names = in_order(study_data.CONTROLLERS)
    for figure in (figures["pareto"], figures["hypervolume"]):
        rows = next(
            axes for axes in figure.axes if [t.get_text().split(" ")[0] for t in axes.get_yticklabels()] == names
        )
        for line in (x for x in rows.lines if x.get_marker() not in ("None", "") and x.get_markersize() > 3):
            expected = look(names[round(np.mean(line.get_ydata()))])
            assert line.get_marker() == expected.marker
            assert expected.color in (line.get_markerfacecolor(), line.get_markeredgecolor())
    for figure in (figures["training_curves"], figures["hypervolume"]):
        for handle in (h for legend in figure.legends for h in legend.legend_handles if h.get_label() in LOOKS):
            assert handle.get_color() == look(handle.get_label()).color
    bars = figures["overhead"].axes[0]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for c in bars.containers for bar in c]
    assert colors == [look(name).color for name in reversed(study_data.CONTROLLERS)]


def test_looks_are_colour_blind_safe_and_no_two_are_alike():
    assert {shape.color for shape in LOOKS.values()} <= OKABE_ITO
    assert len({shape.marker for shape in LOOKS.values()}) == len(LOOKS)
    assert len({(shape.color, shape.linestyle) for shape in LOOKS.values()}) == len(LOOKS)
    assert len({look(name).color for name in study_data.CONTROLLERS}) == len(study_data.CONTROLLERS)
    assert look("static-low-k4-b12") == look("static-low-k4-b12") != look("static-full")
    assert in_order(["zeta", "tier-only", "alpha", "lookup-mean"]) == ["lookup-mean", "tier-only", "alpha", "zeta"]


def test_equal_data_give_equal_files_whatever_the_users_matplotlib_settings(
    figures, summary, profile, folder, tmp_path
):
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "axes.facecolor": "red", "pdf.compression": 0}):
        comparisons = study_data.comparisons(summary)
        pareto(summary, profile.sample(frac=1, random_state=1), comparisons, tmp_path / "pareto")
        violations(summary.sample(frac=1, random_state=1), tmp_path / "violations")
    for name in ("pareto.pdf", "pareto.png", "violations.pdf", "violations.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_process_draws_the_same_bytes(tmp_path):
    draw = (
        "from adamolmo.report.figures.controllers import training_curves;"
        "training_curves({'hybrid': study_data.training_log()}, sys.argv[1])"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(
            [sys.executable, "-c", f"import sys, study_data; {draw}", str(tmp_path / "figure")],
            env=environment,
            check=True,
        )
        digests.add(hashlib.sha256(b"".join((tmp_path / f"figure.{s}").read_bytes() for s in ("pdf", "png"))).digest())
    assert len(digests) == 1


@styled  # the number of ticks depends on the style at drawing time
def _check_layout(figure: Figure) -> None:
    """Texts lie on the page and apart from each other; the legend lies apart from the panels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = []
    with mock.patch.object(Text, "draw", lambda text, _: texts.append(text)):  # ticks exist that are never drawn
        figure.draw(renderer)
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    assert len(texts) > 10
    x0, y0, x1, y1 = np.array([text.get_window_extent(renderer).extents for text in texts]).T
    page = figure.bbox
    for index in np.flatnonzero(np.minimum.reduce([x0, y0, page.x1 - x1, page.y1 - y1]) < 0):
        pytest.fail(f"'{texts[index].get_text()}' leaves the page")
    across, up = (np.minimum.outer(last, last) - np.maximum.outer(first, first) for first, last in ((x0, x1), (y0, y1)))
    for first, second in zip(*np.nonzero(np.triu(np.minimum(across, up) > 0, k=1)), strict=True):
        pytest.fail(f"'{texts[first].get_text()}' overlaps '{texts[second].get_text()}'")
    (legend,) = (legend.get_window_extent(renderer) for legend in figure.legends)
    assert min(legend.x0, legend.y0, page.x1 - legend.x1) >= 0
    assert all(legend.y1 <= axes.get_tightbbox(renderer).y0 for axes in figure.findobj(Axes))
