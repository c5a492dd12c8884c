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
from matplotlib.text import Text
from PIL import Image

from adamolmo import plots
from adamolmo.errors import AdaMolmoError
from adamolmo.pareto import frontier
from adamolmo.plot_style import COLUMN_IN, LOOKS, PAGE_IN, in_order, look, styled
from adamolmo.summary import collect, full_latency_ms, static_configs

DPI = 200
OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
FIGURES = ("pareto", "knob_distribution", "violations", "overhead", "training_curves", "stage_times", "importance")


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
        self.arguments = {
            "pareto": (summary, profile),
            "knob_distribution": (summary, profile),
            "violations": (summary,),
            "overhead": (summary,),
            "training_curves": (logs,),
            "stage_times": (profile,),
            "importance": (study_data.importance_scores(),),
        }

    def __missing__(self, name: str) -> Figure:
        self[name] = getattr(plots, name)(*self.arguments[name], self.folder / name)
        return self[name]


@pytest.fixture(scope="module")
def figures(summary, profile, folder) -> Drawn:
    return Drawn(summary, profile, folder)


@pytest.mark.parametrize("name", FIGURES)
def test_both_files_have_paper_width_and_no_date(figures, folder, name):
    width = COLUMN_IN if name == "importance" else PAGE_IN
    figures[name]
    assert Image.open(folder / f"{name}.png").width == round(DPI * width)
    pdf = (folder / f"{name}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"Date" not in pdf


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_leaves_the_page(figures, name):
    _check_layout(figures[name])


def test_nothing_overlaps_with_all_controllers_and_eight_budgets_in_milliseconds(profile, tmp_path):
    budgets = [f"{ms}ms" for ms in (9, 12, 15, 18, 21, 24, 29, 38)]
    cells = collect(study_data.write_cells(tmp_path, [*LOOKS, "static-low-k4-b12"], budgets))
    _check_layout(plots.pareto(cells, profile, tmp_path / "pareto"))
    _check_layout(plots.knob_distribution(cells, profile, tmp_path / "knobs"))
    _check_layout(plots.violations(cells, tmp_path / "violations"))
    _check_layout(plots.overhead(cells, tmp_path / "overhead"))


def test_the_smallest_study_is_drawn_well_too(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full", "lookup-mean"], ["60pct", "105pct"]))
    cells = cells[cells["dataset"] != "okvqa"].assign(controller_ms=0.0, controller_share_pct=0.0)
    rows = profile.query("dataset != 'okvqa'").assign(accuracy=0.0)
    flat = {"3": 0.0, "4": 0.0}
    scores = {"scores": flat, "removal_order": [4, 3], "datasets": {"okvqa": {"scores": flat}}}
    _check_layout(plots.pareto(cells, rows, tmp_path / "pareto"))
    _check_layout(plots.knob_distribution(cells, rows, tmp_path / "knobs"))
    _check_layout(plots.violations(cells, tmp_path / "violations"))
    _check_layout(plots.overhead(cells, tmp_path / "overhead"))
    _check_layout(plots.training_curves({"two-stage-budget": study_data.training_log(1)}, tmp_path / "training"))
    _check_layout(plots.stage_times(rows, tmp_path / "stages"))
    _check_layout(plots.importance(scores, tmp_path / "importance"))


def test_a_study_of_static_configs_only_has_an_empty_knob_figure(profile, tmp_path):
    cells = collect(study_data.write_cells(tmp_path, ["static-full"], ["60pct"]))
    figure = plots.knob_distribution(cells, profile, tmp_path / "knobs")
    assert not any(axes.patches for axes in figure.axes)


def test_pareto_shows_each_controllers_accuracy_and_latency_with_their_intervals(figures, summary):
    for axes in figures["pareto"].axes:
        cells = summary[summary["dataset"] == axes.get_title()]
        drawn = [bars.lines[0].get_xydata() for bars in axes.containers]
        expected = [
            cells.loc[cells["controller"] == name, ["latency_p50_ms", "accuracy"]].to_numpy() * [1, 100]
            for name in in_order(cells["controller"])
        ]
        np.testing.assert_allclose(drawn, expected)
        one = cells[cells["controller"] == in_order(cells["controller"])[-1]]
        across, up = (lines.get_segments() for lines in axes.containers[-1].lines[2])
        np.testing.assert_allclose([s[:, 0] for s in across], one[["latency_p50_ms_low", "latency_p50_ms_high"]])
        np.testing.assert_allclose([s[:, 1] for s in up], 100 * one[["accuracy_low", "accuracy_high"]])


def test_pareto_shows_the_static_configs_and_their_frontier(figures, profile):
    for axes in figures["pareto"].axes:
        grid = static_configs(profile[profile["dataset"] == axes.get_title()])
        points = grid[["latency_ms", "accuracy"]].to_numpy() * [1, 100]
        best = points[frontier(points[:, 0], points[:, 1])]
        cloud, steps = axes.lines[:3], axes.lines[3]
        np.testing.assert_allclose(np.concatenate([tier.get_xydata() for tier in cloud]), points)
        np.testing.assert_allclose(steps.get_xydata(), best)
        assert len(points) == 75


def test_pareto_marks_budgets_that_no_config_or_every_config_meets_and_cells_over_their_budget(figures, summary):
    for axes in figures["pareto"].axes:
        cells = summary[summary["dataset"] == axes.get_title()]
        none, every = axes.lines[-2:]
        (impossible,) = cells.loc[cells["budget"] == "25pct", "budget_ms"].unique()
        (easy,) = cells.loc[cells["budget"] == "105pct", "budget_ms"].unique()
        assert none.get_xdata().tolist() == [impossible]
        assert every.get_xdata().tolist() == [easy]
        over = cells[cells["latency_p50_ms"] > cells["budget_ms"]]
        white = [line.get_xdata() for line in axes.lines if line.get_markerfacecolor() == "white" and line is not every]
        assert sorted(np.concatenate(white)) == sorted(over["latency_p50_ms"])


def test_pareto_has_a_second_axis_in_percent_of_the_full_config(figures, profile):
    for axes in figures["pareto"].axes:
        (above,) = axes.child_axes
        full = full_latency_ms(static_configs(profile[profile["dataset"] == axes.get_title()]))
        np.testing.assert_allclose(above.get_xlim(), np.array(axes.get_xlim()) / full * 100)


def test_pareto_of_a_dataset_without_profile_is_refused(summary, profile, tmp_path):
    with pytest.raises(AdaMolmoError, match="'okvqa' is in the summary but not in the profile"):
        plots.pareto(summary, profile[profile["dataset"] != "okvqa"], tmp_path / "pareto")


def test_knob_distribution_stacks_the_shares_of_all_requests(figures, summary):
    first, *_, axes = figures["knob_distribution"].axes
    assert axes.get_title() == "text_vqa"
    controllers = [label.get_text() for label in first.get_yticklabels()]
    assert controllers == [name for name in study_data.CONTROLLERS if name != "static-full"]
    heights = {}  # (controller, place) -> {color: share}
    for bar in axes.patches:
        row = int(np.floor(bar.get_y() + bar.get_height() + 1e-9))
        place = round(bar.get_x() + bar.get_width() / 2)
        share = abs(bar.get_height()) / plots._ROW_HEIGHT
        heights.setdefault((controllers[row], place), {})[matplotlib.colors.to_hex(bar.get_facecolor())] = share
    assert len(heights) == 7 * 3 * 5
    assert all(sum(shares.values()) == pytest.approx(1.0) for shares in heights.values())
    cell = summary.query("dataset == 'text_vqa' and controller == 'two-stage-budget' and budget == '105pct'")
    assert cell["knob_counts"].item() == '{"high-k7-b16": 70, "high-k8-b16": 230}'
    shades = plots.style.shades(plots.style.VERMILLION, 5)
    top_k = {color: share for color, share in heights["two-stage-budget", 10].items() if share}
    assert top_k == pytest.approx({shades[3]: 70 / 300, shades[4]: 230 / 300})


def test_violations_shows_rates_with_their_bounds_and_shades_impossible_budgets(figures, summary):
    for axes in figures["violations"].axes:
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] == "lookup-mean")]
        bars = axes.containers[1]
        np.testing.assert_allclose(bars.lines[0].get_xydata()[:, 1], 100 * cells["violation_rate"])
        np.testing.assert_allclose(np.round(bars.lines[0].get_xydata()[:, 0]), range(5))
        bounds = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
        np.testing.assert_allclose(bounds, 100 * cells[["violation_rate_low", "violation_rate_high"]])
        (shaded,) = axes.patches
        assert (shaded.get_x(), shaded.get_width()) == (-0.5, 1.0)


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


def test_importance_shows_every_removable_block_and_the_order_of_removal(figures):
    scores = study_data.importance_scores()
    (axes,) = figures["importance"].axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert bars == pytest.approx({int(block): 100 * drop for block, drop in scores["scores"].items()})
    order = sorted(axes.texts, key=lambda text: int(text.get_text()))
    assert [text.get_position()[0] for text in order] == scores["removal_order"]


def test_a_controller_has_one_look_in_every_figure(figures):
    for name in FIGURES:
        figure = figures[name]
        for handle in (h for legend in figure.legends for h in legend.legend_handles if h.get_label() in LOOKS):
            expected = look(handle.get_label())
            assert handle.get_color() == expected.color, name
            assert handle.get_linestyle() == expected.linestyle, name
            assert handle.get_marker() == expected.marker or name == "training_curves"
    overhead = figures["overhead"].axes[0]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for c in overhead.containers for bar in c]
    assert colors == [look(name).color for name in reversed(study_data.CONTROLLERS)]


def test_looks_are_colour_blind_safe_and_no_two_are_alike():
    assert {shape.color for shape in LOOKS.values()} <= OKABE_ITO
    assert len({shape.marker for shape in LOOKS.values()}) == len(LOOKS)
    assert len({look(name).color for name in study_data.CONTROLLERS}) == len(study_data.CONTROLLERS)
    assert look("static-low-k4-b12") == look("static-low-k4-b12") != look("static-full")
    assert in_order(["zeta", "tier-only", "alpha", "lookup-mean"]) == ["lookup-mean", "tier-only", "alpha", "zeta"]


def test_equal_data_give_equal_files_whatever_the_users_matplotlib_settings(
    figures, summary, profile, folder, tmp_path
):
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "axes.facecolor": "red", "pdf.compression": 0}):
        plots.pareto(summary, profile.sample(frac=1, random_state=1), tmp_path / "pareto")
        plots.violations(summary.sample(frac=1, random_state=1), tmp_path / "violations")
    for name in ("pareto.pdf", "pareto.png", "violations.pdf", "violations.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_process_draws_the_same_bytes(tmp_path):
    draw = "from adamolmo import plots; plots.importance(study_data.importance_scores(), sys.argv[1])"
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
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in texts
        if text.get_visible() and text.get_text().strip()
    ]
    assert len(boxes) > 10
    page = figure.bbox
    for name, box in boxes:
        assert min(box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1) >= 0, f"'{name}' leaves the page"
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        across, up = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, up) <= 0, f"'{first}' overlaps '{second}'"
    (legend,) = (legend.get_window_extent(renderer) for legend in figure.legends)
    assert min(legend.x0, legend.y0, page.x1 - legend.x1) >= 0
    assert all(legend.y1 <= axes.get_tightbbox(renderer).y0 for axes in figure.findobj(Axes))
