"""Aggregated profiles and the configurations chosen from them, for every aggregation and budget of the golden data."""

import json

import pandas as pd
import pytest

from adamolmo.controllers.table import Choice, LookupTable, aggregate
from adamolmo.knobs import KnobConfig


@pytest.fixture(scope="module")
def directory(golden):
    return golden / "lookup_table"


@pytest.fixture(scope="module")
def results(directory):
    """{aggregation: expected lookups}"""
    results = json.loads((directory / "expected_lookup.json").read_text())["results"]
    assert results and all(results.values())
    return results


@pytest.fixture(scope="module")
def profile(directory):
    return pd.read_csv(directory / "profile.csv")


def test_aggregate(directory, results, profile):
    for how in results:
        expected = pd.read_csv(directory / f"aggregated_{how}.csv")
        pd.testing.assert_frame_equal(aggregate(profile, how), expected, rtol=0, atol=1e-9)


def test_choose(results, profile):
    for how, lookups in results.items():
        table = LookupTable.from_frame(aggregate(profile, how))
        for expected in lookups:
            case = (how, expected["budget_ms"], expected["tolerance"])
            choice = table.choose(expected["budget_ms"], expected["tolerance"])
            knobs = KnobConfig(expected["tier"], expected["top_k"], expected["num_active_blocks"])
            assert choice == Choice(
                knobs,
                pytest.approx(expected["accuracy"], rel=0, abs=1e-9),
                pytest.approx(expected["latency_ms"], rel=0, abs=1e-9),
                expected["num_samples"],
                expected["feasible"],
                expected["num_candidates"],
            ), case
