"""Shares of the requests by knob value."""

import matplotlib
import numpy as np
import pytest
import study_data

from adamolmo.report.figures import style


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
