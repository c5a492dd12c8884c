"""Lateness against the promise: values, intervals, what is broken, out of reach or beyond the scale."""

import pytest
import study_data
from figure_checks import draw
from matplotlib.axes import Axes

from adamolmo.report.figures.style import COLUMN_IN, in_order, look

NAMES = [name for name in in_order(study_data.CONTROLLERS) if name != "static-full"]  # which heeds no budget


def panels(figure) -> dict[tuple[str, str], Axes]:
    """By dataset and what the axis below says."""
    across = len({axes.get_subplotspec().colspan.start for axes in figure.axes})
    labels = [axes.get_xlabel().replace("\n", " ") for axes in figure.axes[-across:]]
    places = [(dataset, label) for dataset in study_data.DATASETS for label in labels]
    return dict(zip(places, figure.axes, strict=True))


def points(axes: Axes, name: str) -> list:
    """Markers of a controller, from its tightest budget to its loosest."""
    row = NAMES.index(name)
    lines = [line for line in axes.lines if len(line.get_ydata()) == 1 and abs(line.get_ydata()[0] - row) < 0.5]
    return sorted((line for line in lines if line.get_marker() != "x"), key=lambda line: line.get_ydata()[0])


def test_every_budget_has_its_rate_and_interval(figures_of_all_kinds, summary_of_all_kinds):
    for (dataset, label), axes in panels(figures_of_all_kinds["violations"]).items():
        cells = summary_of_all_kinds[summary_of_all_kinds["dataset"] == dataset].query("controller == 'lookup-mean'")
        cells = cells[[_belongs(budget, label) for budget in cells["budget"]]].sort_values("budget_ms")
        value = cells["latency_mean_ms"] / cells["budget_ms"] if "average" in label else cells["violation_rate"]
        low, high = axes.get_xlim()
        found = [line.get_xdata()[0] for line in points(axes, "lookup-mean")]
        assert found == pytest.approx((100 * value).clip(low, high).tolist())
        bars = [bar for bar in axes.containers if round(bar.lines[0].get_ydata()[0]) == NAMES.index("lookup-mean")]
        ends = [bar.lines[2][0].get_segments()[0][:, 0].tolist() for bar in bars]
        if "average" not in label:
            shown = cells[(100 * value).between(low, high)]
            expected = 100 * shown[["violation_rate_low", "violation_rate_high"]]
            assert sorted(ends) == [pytest.approx(row) for row in sorted(expected.to_numpy().tolist())]


def _belongs(budget: str, label: str) -> bool:
    kinds = {"per request": "", "95 in 100": "p95", "on average": "mean"}
    return budget.partition("-")[2] == next(kind for words, kind in kinds.items() if words in label)


def test_the_promise_is_dashed_and_what_breaks_it_hollow(figures_of_all_kinds, summary_of_all_kinds):
    found = set()
    for (dataset, label), axes in panels(figures_of_all_kinds["violations"]).items():
        dashed = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        assert dashed == ([] if "per request" in label else [100.0] if "average" in label else [5.0])
        if "on time" not in label:
            continue
        cells = summary_of_all_kinds[summary_of_all_kinds["dataset"] == dataset].set_index(["controller", "budget"])
        for name in NAMES:
            budgets = [budget for budget in study_data.BUDGETS_OF_ALL_KINDS if budget.endswith("p95")]
            for line, budget in zip(points(axes, name), budgets, strict=True):
                if line.get_marker() == look(name).marker and line.get_markersize() == 3.0:
                    broken = cells.loc[(name, budget), "violation_rate_low"] > 0.05
                    assert (line.get_markerfacecolor() == "white") == broken
                    found.add(broken)
                else:
                    assert cells.loc[(name, budget), "violation_rate"] > 0.15  # an arrow: three times the promise
                    found.add("beyond")
    assert found >= {False, "beyond"}


def test_a_budget_that_no_config_meets_is_pale(figures):
    for axes in panels(figures["violations"]).values():
        pale = [line.get_alpha() for line in points(axes, "lookup-mean")]
        assert [alpha < 1 for alpha in pale] == [True, False, False, False, False]


def test_narrow_panels_have_a_legend_of_controllers_instead_of_names(figures_of_all_kinds):
    figure = draw("violations", figures_of_all_kinds.inputs, COLUMN_IN)
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= set(NAMES)
    wide = figures_of_all_kinds["violations"]
    assert [label.get_text() for label in wide.axes[0].get_yticklabels()] == NAMES
    assert not {text.get_text() for text in wide.legends[0].get_texts()} & set(NAMES)


def test_the_rates_at_the_profile_speed_are_shown_where_it_was_another(summary, figures):
    def crosses(cells):
        figure = draw("violations", figures.inputs | {"summary": cells})
        lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
        legend = any("at the profile's speed" in text.get_text() for text in figure.legends[0].get_texts())
        return [line.get_xdata()[0] for line in lines], legend

    assert crosses(summary) == ([], False)
    cell = summary.query("dataset == 'okvqa' and controller == 'lookup-mean'").sort_values("budget_ms").index[1]
    slow = summary.copy()
    slow.loc[cell, ["slowdown", "violation_rate_at_profile_speed"]] = [1.4, 0.25]
    assert crosses(slow) == ([25.0], True)
    governed = slow.copy()
    governed.loc[cell, "budget"] += "-p95"  # a governor answers for it, on the device as it was
    assert crosses(governed)[0] == []
