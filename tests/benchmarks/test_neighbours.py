import os
from statistics import median

import pytest


def test_requests_are_timed_with_idle_and_with_busy_neighbours(run_on_study):
    arguments = ("--turns", "2", "--seconds", "0.1")
    outcome = run_on_study("neighbours", *arguments, changes="latency: {clock: measured}")
    record = outcome.record
    assert record["neighbours"] == len(os.sched_getaffinity(0)) - 1
    idle_ms, busy_ms = (record["medians_ms"][condition] for condition in ("idle", "busy"))
    assert len(idle_ms) == len(busy_ms) == 2 and min(idle_ms + busy_ms) > 0
    ratio = record["ratio"]
    assert ratio["value"] == pytest.approx(median([busy_ms[0] / idle_ms[0], busy_ms[1] / idle_ms[1]]))
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert f"idle: {median(idle_ms):.2f} ms (median of 2 turns)" in outcome.printed
    assert f"busy / idle, {record['neighbours']} neighbour(s): {ratio['value']:.3f} (" in outcome.printed
