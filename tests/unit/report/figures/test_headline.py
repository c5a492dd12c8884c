"""Who wins by how much at each kind of budget, and whether the budget is kept."""

import numpy as np
import pytest
import study_data
from figure_checks import check_layout, draw, figure_inputs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from adamolmo.evaluation.summary import collect
from adamolmo.report.figures.style import look

KINDS = ("per-request", "p95", "mean")
# Which table says who gains, and its columns for the gain and for p.
MEASURES = {
    "per-request": ("comparisons", "goodput_gain", "goodput_p"),
    "p95": ("comparisons", "accuracy_gain", "accuracy_p"),
    "mean": ("equal_latency", "gain", "gain_p"),
}


def panels(figure: Figure) -> dict[str, tuple[Axes, Axes]]:
    """Of each kind the upper and the lower one."""
    above = [axes for axes in figure.axes if axes.get_ylabel() == "Gain (points)"]
    below = [axes for axes in figure.axes if axes.get_ylabel() != "Gain (points)"]
    return dict(zip(KINDS, zip(above, below, strict=True), strict=False))


def words(axes: Axes) -> list[str]:
    """What stands above a panel, from top to bottom."""
    return [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]


def points(axes: Axes, controller: str) -> list[tuple[float, float, bool]]:
    """(x, y, filled) of the markers of a controller in one panel, arrows left out."""
    lines = [line for line in axes.lines if line.get_marker() == look(controller).marker]
    lines = [
        line for line in lines if line.get_markeredgecolor() != line.get_markerfacecolor() and len(line.get_xdata())
    ]
    own = [line for line in lines if line.get_color() == look(controller).color]
    return sorted((x, y, line.get_markerfacecolor() != "white") for line in own for x, y in line.get_xydata())


def plant(inputs: dict, kind: str, controller: str, gain: float, half: float = 0.01) -> dict:
    """The same results, but that controller gains so much on all datasets, at every budget of the kind and over them;
    all others gain nothing."""
    table, column, p = MEASURES[kind]
    rows = inputs[table].copy()
    of_kind = (rows["dataset"] == "all") & rows["budget"].map(lambda budget: _is_of(kind, budget))
    for end, width in (("", 0.0), ("_low", -half), ("_high", half)):
        rows.loc[of_kind, f"{column}{end}"] = width
        rows.loc[of_kind & (rows["controller"] == controller), f"{column}{end}"] = gain + width
    rows.loc[of_kind, p] = 1.0
    rows.loc[of_kind & (rows["controller"] == controller), p] = 0.0 if gain > half else 0.2
    return inputs | {table: rows}


def _is_of(kind: str, budget: str) -> bool:
    promise = budget.partition("-")[2]
    return budget == kind or (promise == kind if kind != "per-request" else not promise)


@pytest.fixture(scope="module")
def inputs(figures_of_all_kinds) -> dict:
    return figures_of_all_kinds.inputs


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_one_is_named_with_its_gain_and_drawn_large(inputs, kind):
    above, _ = panels(draw("headline", plant(inputs, kind, "lookup-median", 0.031)))[kind]
    assert words(above)[1:3] == ["lookup-median", "+3.1 points (+2.1 to +4.1)"]
    budgets = [budget for budget in study_data.BUDGETS_OF_ALL_KINDS if _is_of(kind, budget)]
    assert [y for _, y, _ in points(above, "lookup-median")] == pytest.approx([3.1] * len(budgets))
    assert above.get_ylim()[1] > 4.1  # its intervals lie in the panel
    sizes = {line.get_markersize() for line in above.lines if line.get_marker() == look("lookup-median").marker}
    others = {line.get_markersize() for line in above.lines if line.get_marker() == look("lookup-max_accuracy").marker}
    assert min(sizes) >= 2 * max(others)


def test_what_counts_depends_on_the_kind_of_budget(inputs):
    """A gain in accuracy is none per request, nor on average."""
    planted = plant(inputs, "p95", "lookup-median", 0.031)
    rows = planted["comparisons"].copy()
    rows.loc[rows["budget"] == "per-request", ["accuracy_gain", "accuracy_gain_low"]] = 0.5
    rows.loc[rows["budget"] == "mean", ["accuracy_gain", "accuracy_gain_low", "goodput_gain_low"]] = 0.5
    found = panels(draw("headline", planted | {"comparisons": rows}))
    assert words(found["p95"][0])[1] == "lookup-median"
    assert words(found["per-request"][0])[1] == words(found["mean"][0])[1] == "nobody is shown to win"
    assert [words(above)[-1] for above, _ in found.values()] == [
        "right and on time, over lookup-mean",
        "accuracy over lookup-mean, equally late",
        "accuracy over static mixtures, equally fast",
    ]


def test_without_a_certain_gain_nobody_stands_out(inputs):
    figure = draw("headline", plant(inputs, "mean", "lookup-median", 0.031, half=0.04))
    above, _ = panels(figure)["mean"]
    assert words(above)[1:3] == ["nobody is shown to win", "largest: lookup-median +3.1 (-0.9 to +7.1)"]
    markers = {look(name).marker for name in study_data.CONTROLLERS}
    assert {line.get_markersize() for line in above.lines if line.get_marker() in markers} == {3.2}


def test_who_breaks_the_promise_wins_nothing_and_is_hollow(inputs):
    broken = inputs["promises"].query("dataset == 'all' and budget == 'p95'").set_index("controller")["broken"]
    assert broken["topk-only"] and not broken["lookup-median"]
    above, below = panels(draw("headline", plant(inputs, "p95", "topk-only", 0.018)))["p95"]
    assert words(above)[1] == "nobody is shown to win"
    assert [filled for _, _, filled in points(above, "topk-only")] == [False] * 3
    assert [filled for _, _, filled in points(above, "lookup-max_accuracy")] == [True] * 3
    assert words(below)[0] == f"Broken by {broken.sum()} of {len(broken)}"


def test_where_everybody_breaks_the_promise_most_are_still_seen(inputs):
    promises = inputs["promises"].copy()
    of_kind = promises["budget"].map(lambda budget: _is_of("p95", budget))
    promises.loc[of_kind, ["found", "found_low", "found_high"]] = 0.4, 0.35, 0.45
    promises.loc[of_kind, "broken"] = True
    above, below = panels(draw("headline", inputs | {"promises": promises}))["p95"]
    assert words(above)[1] == "no promise is kept"
    assert words(below)[0].startswith("Broken by ")
    assert [(y, filled) for _, y, filled in points(below, "lookup-median")] == [(40.0, False)] * 3


def test_kept_promises_are_told_with_what_was_found(inputs):
    kept = inputs["promises"].assign(broken=False)
    found = panels(draw("headline", inputs | {"promises": kept}))
    cells = inputs["summary"]
    cells = cells[cells["budget"].str.endswith("-p95") & cells["feasible"] & (cells["controller"] != "static-full")]
    late = 100 * (cells["violation_rate"] * cells["num_samples"]).sum() / cells["num_samples"].sum()
    assert words(found["p95"][1])[0] == "Kept by all"
    assert words(found["p95"][1])[1].startswith(f"{late:.1f} % late (")
    used = 100 * kept.query("dataset == 'all' and budget == 'mean'")["found"]
    assert words(found["mean"][1]) == ["Kept by all", f"{used.min():.1f} to {used.max():.1f} % of the budget used"]
    one = kept.assign(broken=(kept["dataset"] == "all") & (kept["budget"] == "60pct-p95"))
    found = panels(draw("headline", inputs | {"promises": one}))
    assert words(found["p95"][1])[0] == "Kept overall"


def test_zero_and_what_is_promised_are_lines_and_per_request_nothing_is(figures_of_all_kinds):
    found = panels(figures_of_all_kinds["headline"])
    for above, _ in found.values():
        assert _levels(above, "-") == [0]
        assert above.get_ylim()[0] < 0 < above.get_ylim()[1]
    assert [_levels(below, "--") for _, below in found.values()] == [[], [5], [100]]
    for kind, level in (("p95", 5), ("mean", 100)):
        bottom, top = found[kind][1].get_ylim()
        assert bottom < level < top
    assert words(found["per-request"][1])[0] == "Nothing is promised"


def _levels(axes: Axes, style: str) -> list[float]:
    lines = [line for line in axes.lines if line.get_linestyle() == style and list(line.get_xdata()) == [0, 1]]
    return [line.get_ydata()[0] for line in lines]


def test_below_stands_what_was_found_of_every_controller(figures_of_all_kinds):
    table = figures_of_all_kinds.inputs["promises"]
    for kind in ("p95", "mean"):
        _, below = panels(figures_of_all_kinds["headline"])[kind]
        rows = table.query("dataset == 'all' and controller == 'lookup-mean'")
        expected = rows[rows["budget"].str.endswith(f"-{kind}")].sort_values("budget")["found"]
        assert [y for _, y, _ in points(below, "lookup-mean")] == pytest.approx(100 * expected.to_numpy())
    cells = figures_of_all_kinds.inputs["summary"].query("controller == 'lookup-mean' and budget == '60pct'")
    late = 100 * (cells["violation_rate"] * cells["num_samples"]).sum() / cells["num_samples"].sum()
    _, below = panels(figures_of_all_kinds["headline"])["per-request"]
    assert points(below, "lookup-mean")[1][1] == pytest.approx(late)


def test_what_is_far_off_is_an_arrow_at_the_edge_and_does_not_set_the_scale(inputs):
    planted = plant(inputs, "p95", "lookup-median", 0.031)
    rows = planted["comparisons"]
    far = (
        (rows["dataset"] == "all") & (rows["controller"] == "lookup-max_accuracy") & rows["budget"].str.endswith("p95")
    )
    for end in ("", "_low", "_high"):
        rows.loc[far, f"accuracy_gain{end}"] = -0.4
    above, _ = panels(draw("headline", planted))["p95"]
    bottom, top = above.get_ylim()
    assert -2.01 * top < bottom < 0
    assert points(above, "lookup-max_accuracy") == []
    at_edge = [line for line in above.lines if len(line.get_ydata()) and np.all(line.get_ydata() == bottom)]
    (arrows,) = [line for line in at_edge if line.get_color() == look("lookup-max_accuracy").color]
    assert len(arrows.get_xdata()) == 3


def test_budgets_of_one_kind_fill_one_column(figures):
    figure = figures["headline"]
    assert len(figure.axes) == 2
    assert "promised" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_dataset_is_the_whole_study(inputs):
    one = inputs["summary"].query("dataset == 'okvqa'")
    tables = ("comparisons", "equal_latency", "promises")
    figure = draw(
        "headline",
        {"summary": one} | {name: getattr(study_data, name)(one) for name in tables},
    )
    above, _ = panels(figure)["mean"]
    table = study_data.equal_latency(one).query("controller == 'lookup-mean' and budget != 'mean'")
    expected = table[table["budget"].str.endswith("mean")].sort_values("budget")["gain"] * 100
    shown = [gain for gain in expected if above.get_ylim()[0] <= gain <= above.get_ylim()[1]]
    assert [y for _, y, _ in points(above, "lookup-mean")] == pytest.approx(shown)
    check_layout(figure)


@pytest.mark.parametrize(
    ("controller", "said"), [("lookup-mean", "nothing is compared"), ("static-full", "no controller heeds budgets")]
)
def test_a_study_of_one_controller_says_that_nothing_is_compared(tmp_path, profile, controller, said):
    cells = collect(study_data.write_cells(tmp_path, [controller], ["60pct", "60pct-p95"]))
    inputs = figure_inputs(cells, profile)
    empty = study_data.comparisons(collect(study_data.write_cells(tmp_path, ["lookup-mean", "x"], ["60pct"]))).iloc[:0]
    figure = draw("headline", inputs | {"comparisons": empty})
    assert said in [text.get_text() for text in figure.findobj(Text)]
