from statistics import mean, stdev

import pytest

CONFIGS = ("low-k4-b12", "high-k8-b16")


def test_medians_of_several_processes_and_how_they_vary(gpu_session_miniature):
    outcome = gpu_session_miniature.outcome("repeatability")
    runs = outcome.record["runs"]
    assert len(runs) == 2
    for number, run in enumerate(runs, start=1):
        assert run["median_ms"].keys() == set(CONFIGS) and min(run["median_ms"].values()) > 0
        assert run["rows"] == 4 * len(CONFIGS)  # one question of each of four datasets
        assert run["drift_pct"] >= 0
        assert 0 <= run["unaccounted_pct"]["median"] <= run["unaccounted_pct"]["largest"]
        assert run["unaccounted_pct"]["median"] < 5
        assert f"run {number}: drift of the reference {run['drift_pct']:.1f} %" in outcome.printed
    for config in CONFIGS:
        medians_ms = [run["median_ms"][config] for run in runs]
        variation_pct = 100 * stdev(medians_ms) / mean(medians_ms)
        assert outcome.record["variation_pct"][config] == pytest.approx(variation_pct)
        first, second = medians_ms
        assert f"| {config} | {first:.2f} | {second:.2f} | {variation_pct:.1f} % |" in outcome.printed
    assert "| configuration | run 1, ms | run 2, ms | coefficient of variation |" in outcome.printed
