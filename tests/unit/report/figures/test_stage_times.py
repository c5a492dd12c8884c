"""Stages stack to the latency, and every knob is shown alone."""

import pytest


def test_stages_stack_to_the_mean_latency_of_the_datasets(figures, profile):
    (axes,) = figures["stage_times"].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:2] == ["full config", "tier medium"]
    assert names[-1] == "all at their lowest"
    assert len(names) == 1 + 2 + 4 + 4 + 1
    latency = profile.groupby(["dataset", "tier", "top_k", "num_active_blocks"])["latency_ms"].mean()
    shown = {"full config": ("high", 8, 16), "tier low": ("low", 8, 16), "top-k 5": ("high", 5, 16)}
    shown |= {"13 blocks": ("high", 8, 13), "all at their lowest": ("low", 4, 12)}
    for name, config in shown.items():
        row = names.index(name)
        bars = [bar for container in axes.containers for bar in container if round(bar.get_y() + 0.375) == row]
        assert len(bars) == 3
        assert sum(bar.get_width() for bar in bars) == pytest.approx(latency.xs(config, level=[1, 2, 3]).mean())
        (circles,) = [line for line in axes.lines if line.get_ydata()[0] == row]
        assert sorted(circles.get_xdata()) == pytest.approx(sorted(latency.xs(config, level=[1, 2, 3])))
