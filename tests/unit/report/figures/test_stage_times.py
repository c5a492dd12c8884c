"""Stages stack to the latency."""

import itertools

import pytest
import study_data


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
