"""The spread of timed requests, and what the note says."""

import numpy as np
from figure_checks import main_panels


def test_repeatability_shows_the_spread_of_the_timed_requests_and_the_drift(figures, profile):
    for axes in main_panels(figures["repeatability"]):
        rows = profile.query(f"dataset == '{axes.get_title()}' and tier == 'low' and latency_source == 'measured'")
        curve = axes.lines[0]
        np.testing.assert_allclose(curve.get_xdata(), sorted(100 * rows["latency_iqr_ms"] / rows["latency_ms"]))
        assert curve.get_ydata()[-1] == 100
        assert axes.texts[0].get_text().startswith("drift 3.2 % (limit 5 %)\nerror of estimates 8.4 %")


def test_the_scale_ends_where_the_data_do_and_tells_what_lies_beyond(figures, profile):
    timed = profile[profile["latency_source"] == "measured"]
    spread_pct = 100 * timed["latency_iqr_ms"] / timed["latency_ms"]
    for axes in main_panels(figures["repeatability"]):
        right = axes.get_xlim()[1]
        assert right == np.quantile(spread_pct, 0.98)
        beyond = 100 * (spread_pct[timed["dataset"] == axes.get_title()] > right).mean()
        assert axes.texts[0].get_text().endswith(f"beyond the scale {beyond:.1f} %")
