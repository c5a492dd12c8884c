"""What holds for every figure: two widths of a paper, text that can be read, nothing overlaps in any study, a
controller looks the same in all of them, equal data give equal files."""

import hashlib
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import study_data
from figure_checks import FIGURES, check_layout, draw, figure_inputs, main_panels
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from adamolmo.evaluation.summary import collect
from adamolmo.report.figures import style
from adamolmo.report.figures.style import COLUMN_IN, LOOKS, PAGE_IN, in_order, look

DPI = 200
WIDTHS = (PAGE_IN, COLUMN_IN)
PER_DATASET = ("summary", "grid", "comparisons", "equal_latency", "promises", "hypervolumes")
OF_CELLS = ("headline", "pareto", "gains", "hypervolume", "knob_distribution", "violations", "overhead")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_as_wide_as_asked_and_its_text_can_be_read(figures_of_all_kinds, name, width):
    """None is wider; a small one is narrower than both columns."""
    figure = draw(name, figures_of_all_kinds.inputs, width)
    assert width == COLUMN_IN or figure.get_figwidth() > COLUMN_IN or name == "reliability"
    assert figure.get_figwidth() <= width
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 6
    check_layout(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_leaves_the_page(figures, figures_of_all_kinds, name):
    check_layout(figures[name])
    check_layout(draw(name, figures.inputs, COLUMN_IN))


def test_the_files_have_the_figures_size_and_no_date(figures, tmp_path):
    style.save(figures["overhead"], tmp_path / "overhead")
    assert Image.open(tmp_path / "overhead.png").width == round(DPI * PAGE_IN)
    pdf = (tmp_path / "overhead.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"Date" not in pdf


def test_nothing_overlaps_with_every_kind_of_budget(profile, tmp_path):
    budgets = [f"{pct}pct{promise}" for pct in (45, 60) for promise in ("", "-p90", "-p95", "-p99", "-mean")]
    cells = collect(study_data.write_cells(tmp_path, [*LOOKS, "oracle"], budgets))
    inputs = figure_inputs(cells, profile)
    for name in ("headline", "pareto", "gains", "violations"):
        for width in WIDTHS:
            check_layout(draw(name, inputs, width))


def test_nothing_overlaps_with_all_controllers_and_eight_budgets_in_milliseconds(profile, tmp_path):
    budgets = [f"{ms}ms" for ms in (9, 12, 15, 18, 21, 24, 29, 38)]
    cells = collect(study_data.write_cells(tmp_path, [*LOOKS, "static-low-k4-b12", "oracle"], budgets))
    inputs = figure_inputs(cells, profile)
    for name in OF_CELLS:
        for width in WIDTHS:
            check_layout(draw(name, inputs, width))


def test_many_controllers_are_drawn_family_by_family(profile, tmp_path):
    names = [*LOOKS][:15] + ["one-of-my-own"]
    cells = collect(study_data.write_cells(tmp_path, names, study_data.BUDGETS_OF_ALL_KINDS))
    inputs = figure_inputs(cells, profile)
    for width in WIDTHS:
        figure = draw("pareto", inputs, width)
        check_layout(figure)
        families = {text.get_text() for axes in figure.axes for text in axes.texts} - {""}
        assert families == {"tables", "two-stage", "single-stage", "one's own"}
        for axes in figure.axes:
            family = next((text.get_text() for text in axes.texts), "")
            drawn = {
                line.get_marker() for line in axes.lines if line.get_markersize() == 4.0 and line.get_color() != "white"
            }
            if family == "two-stage":  # its controllers and the baseline
                assert drawn >= {look(name).marker for name in names if name.startswith("two-stage")}
                assert look("single-stage-mlp").marker not in drawn
        check_layout(draw("promises", inputs, width))


@pytest.mark.parametrize("count", [1, 9])
def test_one_dataset_or_nine(summary, profile, tmp_path, count):
    def times(table: pd.DataFrame) -> pd.DataFrame:
        one = table[table["dataset"] == "okvqa"]
        return pd.concat([one.assign(dataset=f"dataset_{i}") for i in range(count)], ignore_index=True)

    inputs = figure_inputs(summary, times(profile))
    inputs |= {name: times(inputs[name]) for name in PER_DATASET}
    for name in (*OF_CELLS, "stage_times", "repeatability"):
        check_layout(draw(name, inputs))


def test_the_smallest_study_is_drawn_well_too(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full", "lookup-mean"], ["60pct", "105pct"]))
    cells = cells[cells["dataset"] != "okvqa"].assign(controller_ms=0.0, controller_share_pct=0.0)
    rows = profile.query("dataset != 'okvqa'").assign(accuracy=0.0, latency_iqr_ms=0.0, latency_source="modelled")
    flat = {"3": 0.0, "4": 0.0}
    inputs = figure_inputs(cells, rows) | {
        "scores": study_data.importance_scores(flat, ("okvqa",)),
        "timing": dict.fromkeys(study_data.DATASETS, dict.fromkeys(study_data.TIMING)),
        "training": {"two-stage-budget": study_data.training_log(1)},
    }
    for name in FIGURES:
        for width in WIDTHS:
            check_layout(draw(name, inputs, width))


def test_a_study_of_one_controller_is_drawn_without_comparisons(profile, summary, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full"], ["60pct"]))
    inputs = figure_inputs(summary, profile)
    of_cells = ("equal_latency", "promises")
    inputs |= {"summary": cells, "comparisons": inputs["comparisons"].iloc[:0]}
    inputs |= {name: getattr(study_data, name)(cells) for name in of_cells}
    assert not any(axes.patches for axes in draw("knob_distribution", inputs).axes)
    check_layout(draw("pareto", inputs))
    draw("gains", inputs)
    draw("headline", inputs)


def test_the_oracle_is_a_dashed_upper_bound_and_no_controller(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, [*study_data.CONTROLLERS, "oracle"]))
    inputs = figure_inputs(cells, profile)
    drawn = {name: draw(name, inputs) for name in OF_CELLS}
    assert not [text for text in drawn["headline"].findobj(Text) if "oracle" in text.get_text()]
    for name, figure in drawn.items():
        if name == "headline":
            continue
        names = {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
        assert "two-stage-budget" in names and "oracle" not in names
    for name in ("pareto", "hypervolume"):
        assert sum(handle.get_label() == "oracle" for handle in drawn[name].legends[0].legend_handles) == 1
    for axes in main_panels(drawn["pareto"]):
        expected = cells[(cells["dataset"] == axes.get_title()) & (cells["controller"] == "oracle")]
        (bound,) = _dashed(axes)
        np.testing.assert_allclose(
            bound.get_xydata(), expected.sort_values("budget_ms")[["latency_mean_ms", "accuracy"]] * [1, 100]
        )
    areas = inputs["hypervolumes"]
    for axes in main_panels(drawn["hypervolume"]):
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
    for name in ("pareto", "promises", "training_curves"):
        handles = {h.get_label(): h for legend in figures[name].legends for h in legend.legend_handles}
        for label in handles.keys() & LOOKS.keys():
            assert (handles[label].get_marker(), handles[label].get_color()) == (look(label).marker, look(label).color)
        assert len(handles.keys() & LOOKS.keys()) >= 2


def test_what_a_name_does_not_say_is_explained_where_it_appears(figures, figures_of_all_kinds):
    for name in (
        "headline",
        "pareto",
        "gains",
        "hypervolume",
        "violations",
        "overhead",
        "knob_distribution",
        "promises",
    ):
        (legend,) = figures_of_all_kinds[name].legends
        assert "lookup-max_accuracy: trusts" in legend.get_title().get_text().replace("\n", " "), name
    assert not figures["training_curves"].legends[0].get_title().get_text()
    bars = figures["overhead"].axes[0]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for c in bars.containers for bar in c]
    assert colors == [look(name).color for name in reversed(study_data.CONTROLLERS)]


@pytest.mark.parametrize("name", ["headline", "pareto", "violations"])
def test_equal_data_give_equal_files_whatever_the_users_matplotlib_settings(summary, profile, tmp_path, name):
    inputs = figure_inputs(summary, profile)
    usual = draw_bytes(name, inputs, tmp_path / "usual")
    shuffled = {
        key: value.sample(frac=1, random_state=1) if isinstance(value, pd.DataFrame) else value
        for key, value in inputs.items()
    }
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "axes.facecolor": "red", "pdf.compression": 0}):
        assert draw_bytes(name, shuffled, tmp_path / "other") == usual


def draw_bytes(name, inputs, path) -> list[bytes]:
    style.save(draw(name, inputs), path)
    return [path.with_suffix(suffix).read_bytes() for suffix in (".pdf", ".png")]


def test_another_process_draws_the_same_bytes(tmp_path):
    program = (
        "import sys, study_data; from adamolmo.report.figures import style, training_curves;"
        "style.save(training_curves.draw({'hybrid': study_data.training_log()}, 3.3), sys.argv[1])"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "figure")], env=environment, check=True)
        digests.add(hashlib.sha256(b"".join((tmp_path / f"figure.{s}").read_bytes() for s in ("pdf", "png"))).digest())
    assert len(digests) == 1
