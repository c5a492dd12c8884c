"""What governors aim at, and kept promises, over the requests."""

import numpy as np
import pytest

from adamolmo.report.figures.style import GREY, look


def test_a_row_per_promise_shows_aims_and_what_was_kept_so_far(figures):
    streams = figures.inputs["streams"]
    (left_p95, right_p95), (left_mean, right_mean) = np.reshape(figures["promises"].axes, (2, 2))
    assert [axes.get_ylabel() for axes in (left_p95, left_mean)] == ["60 % p95\naim (%)", "60 % mean\naim (%)"]
    for left, right, budget in ((left_mean, right_mean, "60pct-mean"), (left_p95, right_p95, "60pct-p95")):
        of_table = streams[(streams["controller"] == "lookup-mean") & (streams["budget"] == budget)]
        late, used = ~of_table["budget_met"], of_table["latency_ms"] / of_table["budget_ms"]
        (aim,) = [
            line for line in left.lines if line.get_color() == look("lookup-mean").color and line.get_marker() == "o"
        ]
        (so_far,) = [
            line for line in right.lines if line.get_color() == look("lookup-mean").color and line.get_marker() == "o"
        ]
        at_7 = of_table[of_table["request"] == 7]
        aims = 100 / (at_7["slowdown"] * (1 + at_7["margin"]))
        assert aim.get_ydata()[7] == pytest.approx(aims.mean())
        (without_margin,) = [line for line in left.lines if line.get_color() == GREY]
        at_7 = streams[(streams["request"] == 7) & (streams["budget"] == budget)]
        assert without_margin.get_ydata()[7] == pytest.approx((100 / at_7["slowdown"]).mean())
        assert so_far.get_ydata()[-1] == pytest.approx(100 * (used if budget.endswith("mean") else late).mean())
    assert {line.get_ydata()[0] for line in right_p95.lines if len(line.get_ydata()) == 2} == {5.0}


def test_the_scale_of_what_was_kept_is_that_of_the_later_requests(figures):
    _, (_, right_mean) = np.reshape(figures["promises"].axes, (2, 2))
    lines = [line.get_ydata() for line in right_mean.lines if len(line.get_ydata()) > 2]
    bottom, top = right_mean.get_ylim()
    assert all(bottom < value < top for line in lines for value in line[len(line) // 4 :])
