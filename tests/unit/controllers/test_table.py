"""Lookup tables: ties, restriction, files and bad profiles. (Aggregation and choice are also in tests/parity.)"""

import json
import math

import pandas as pd
import pytest
from made_documents import ORIGIN

from adamolmo.controllers.table import Entry, LookupTable, aggregate, load_table, save_table
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import sealed
from adamolmo.knobs import KnobConfig

LOW, MID, HIGH = KnobConfig("low", 4, 12), KnobConfig("low", 8, 16), KnobConfig("high", 8, 16)
ROWS = [("low", 4, 12, 0.2, 10.0), ("low", 4, 12, 0.6, 14.0), ("low", 4, 12, 0.6, 12.0), ("high", 8, 16, 0.9, 30.0)]
PROFILE = pd.DataFrame(ROWS, columns=["tier", "top_k", "num_active_blocks", "accuracy", "latency_ms"])


def table() -> LookupTable:
    return LookupTable([Entry(HIGH, 0.9, 30.0, 5), Entry(LOW, 0.5, 10.0, 5), Entry(MID, 0.5, 20.0, 5)])


@pytest.mark.parametrize(
    ("how", "accuracy", "latency_ms"), [("mean", 1.4 / 3, 12.0), ("median", 0.6, 12.0), ("max_accuracy", 0.6, 12.0)]
)
def test_aggregate(how, accuracy, latency_ms):
    rows = aggregate(PROFILE, how).set_index("tier")
    assert len(rows) == 2
    assert rows.loc["low", "accuracy"] == pytest.approx(accuracy)
    assert rows.loc["low", "latency_ms"] == pytest.approx(latency_ms)
    assert rows.loc["low", "num_samples"] == 3 and rows.loc["high", "num_samples"] == 1


def test_choose():
    choice = table().choose(20, tolerance=0)
    assert (choice.config, choice.feasible, choice.num_candidates) == (LOW, True, 2)  # a tie: the faster one
    assert table().choose(28.6).config == HIGH  # 5 % above 28.6 ms is allowed
    assert table().choose(28.5).config == LOW
    miss = table().choose(1)
    assert (miss.config, miss.feasible, miss.num_candidates) == (LOW, False, 0)


@pytest.mark.parametrize(("budget_ms", "tolerance"), [(0, 0.05), (-1, 0.05), (math.nan, 0.05), (10, -0.1)])
def test_bad_budget(budget_ms, tolerance):
    with pytest.raises(AdaMolmoError, match="budget_ms"):
        table().choose(budget_ms, tolerance)


def test_restrict():
    assert [entry.config for entry in table().restrict(tier="low").entries] == [LOW, MID]
    assert [entry.config for entry in table().restrict(top_k=8, num_active_blocks=16).entries] == [MID, HIGH]
    with pytest.raises(AdaMolmoError, match="medium"):
        table().restrict(tier="medium")


def test_file_round_trip(tmp_path):
    path = tmp_path / "okvqa.json"
    save_table(table(), ORIGIN, path)
    loaded = load_table(path)
    assert loaded.entries == table().entries
    assert [file.name for file in tmp_path.iterdir()] == ["okvqa.json"]
    first = path.read_bytes()
    save_table(loaded, ORIGIN, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": "high"}, "'high' is not a knob configuration"),
        ({"latency_ms": "1"}, r"key 'entries\[0\].latency_ms' is \"1\"; expected a valid number"),
        ({"latency_ms": math.nan}, r"key 'entries\[0\].latency_ms' is NaN; expected a finite number"),
        ({"latency_ms": -1.0}, "latency_ms of low-k4-b12 is -1.0"),
        ({"config": "low-k8-b16"}, "has low-k8-b16 twice"),
    ],
)
def test_bad_entry(tmp_path, change, sentence):
    path = tmp_path / "mean.json"
    save_table(table(), ORIGIN, path)
    content = json.loads(path.read_text())
    content["entries"][0] |= change
    path.write_text(json.dumps(sealed(content)))
    with pytest.raises(AdaMolmoError, match=f"^{path}: .*{sentence}"):
        load_table(path)


def test_no_entries(tmp_path):
    path = tmp_path / "mean.json"
    path.write_text(json.dumps(sealed({"metadata": ORIGIN.model_dump(), "entries": []})))
    with pytest.raises(AdaMolmoError, match="mean.json: the lookup table is empty"):
        load_table(path)


def test_missing_file(tmp_path):
    with pytest.raises(AdaMolmoError, match="none.json"):
        load_table(tmp_path / "none.json")


@pytest.mark.parametrize("latency_ms", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("how", ["mean", "max_accuracy"])
def test_latency_that_was_not_measured(latency_ms, how):
    profile = PROFILE.copy()
    profile.loc[1, "latency_ms"] = latency_ms
    with pytest.raises(AdaMolmoError, match=f"latency_ms of low-k4-b12 is {latency_ms}"):
        aggregate(profile, how)
    with pytest.raises(AdaMolmoError, match=f"latency_ms of high-k8-b16 is {latency_ms}"):
        LookupTable([Entry(LOW, 0.5, 1.0, 1), Entry(HIGH, 0.5, latency_ms, 1)])


def test_bad_profile():
    with pytest.raises(AdaMolmoError, match="accuracy of low-k4-b12 is nan"):
        aggregate(PROFILE.assign(accuracy=math.nan), "mean")
    with pytest.raises(AdaMolmoError, match="empty"):
        aggregate(PROFILE.head(0), "mean")
    with pytest.raises(AdaMolmoError, match="no column top_k"):
        aggregate(PROFILE.drop(columns="top_k"), "mean")
    with pytest.raises(AdaMolmoError, match="'best'.*max_accuracy"):
        aggregate(PROFILE, "best")
    with pytest.raises(AdaMolmoError, match="low-k4-b12 twice"):
        LookupTable([Entry(LOW, 0.5, 1.0, 1), Entry(LOW, 0.6, 2.0, 1)])


def test_saved_json_is_strict(tmp_path):
    save_table(table(), ORIGIN, tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())["entries"]
    assert rows[0] == {"config": "low-k4-b12", "accuracy": 0.5, "latency_ms": 10.0, "num_samples": 5}
