import pytest


def test_every_governor_is_replayed_on_the_same_traces(run_on_study):
    """With the modelled clock, on which no request is slower than expected: all keep and choose the same."""
    outcome = run_on_study("replay_governor", "--budgets", "100pct-p95", "90pct-mean")
    assert len(outcome.record) == 2 * 2 * 3
    rows = iter(outcome.record.items())
    for name, alone in rows:
        assert name.endswith("margin alone")
        assert alone["traces"] > 0
        assert next(rows)[1] == next(rows)[1] == pytest.approx(alone)
        assert alone["kept_pct"] <= (100 if "-mean" in name else 20)
    assert outcome.printed.count("kept_pct") == len(outcome.record)
