"""Numbers, frames and hatching of the gains."""

import pytest
import study_data
from figure_checks import main_panels

from adamolmo.budgets import KINDS


def test_gains_show_every_number_and_frame_what_the_test_supports(figures, summary):
    comparisons = study_data.comparisons(summary).query("other == 'lookup-mean'")
    comparisons = comparisons[~comparisons["budget"].isin(KINDS)]
    for axes in main_panels(figures["gains"]):
        pairs = comparisons[comparisons["dataset"] == axes.get_title()]
        shown = [float(text.get_text()) for text in axes.texts]
        assert shown == pytest.approx(100 * pairs["accuracy_gain"], abs=0.0501)
        framed = [patch for patch in axes.patches if patch.get_edgecolor() == (0, 0, 0, 1) and not patch.get_fill()]
        assert len(framed) == (pairs["accuracy_p"] < 0.01).sum() > 0  # 0.0001 x 35 cells stays below 0.05
        hatched = [patch for patch in axes.patches if patch.get_hatch()]
        cells = summary[(summary["dataset"] == axes.get_title()) & (summary["controller"] != "lookup-mean")]
        assert len(hatched) == (cells["latency_p50_ms"] > cells["budget_ms"]).sum() > 0


def test_means_over_a_kind_of_budget_are_no_column(figures_of_all_kinds):
    others = len(study_data.CONTROLLERS) - 1
    for axes in main_panels(figures_of_all_kinds["gains"]):
        assert len(axes.texts) == others * len(study_data.BUDGETS_OF_ALL_KINDS)
        assert [label.get_rotation() for label in axes.get_xticklabels()] == [90] * len(study_data.BUDGETS_OF_ALL_KINDS)
