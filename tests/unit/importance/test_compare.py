import pytest
from made_documents import beam_search, importance

from adamolmo.importance.accuracy_drop import accuracy_without
from adamolmo.importance.compare import compare_rules
from adamolmo.importance.merge import rankings
from adamolmo.inference.grid import BatchLimits
from adamolmo.statistics.intervals import Resampling


def test_rules_are_compared_by_blocks_kept(tiny_engine, answerable):
    scores = importance(removal_orders={"accuracy_drop": (5, 3, 4, 6), "prefix": (6, 5, 4, 3)})
    accuracy = compare_rules(
        tiny_engine,
        answerable,
        rankings(scores, beam_search((3,), (4, 6))),
        tier="high",
        lowest_count=5,
        limits=BatchLimits(4),
        resampling=Resampling(50),
    )
    assert accuracy.keys() == {"accuracy_drop", "prefix", "beam_search"}
    removed = {"accuracy_drop": (3, 5), "prefix": (5, 6), "beam_search": (4, 6)}
    expected = accuracy_without(tiny_engine, answerable, "high", list(removed.values()), BatchLimits(10))
    for rule, by_count in accuracy.items():
        assert list(by_count) == ["5", "6", "7"]
        assert by_count["7"].value == pytest.approx(0.8)
        assert by_count["5"].value == pytest.approx(expected[removed[rule]].mean())
        assert by_count["5"].low <= by_count["5"].value <= by_count["5"].high
