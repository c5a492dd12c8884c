from dataclasses import replace
from itertools import combinations

import pytest
from plain_answers import exact, plain_answers

from adamolmo.importance.beam_search import search
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import DecoderKnobs

SETTINGS = {"tier": "high", "limits": BatchLimits(4), "model_checksum": "abc"}


def test_beam_search_finds_what_trying_every_set_finds(tiny_engine, answerable):
    """Width 6 keeps every set of 4 blocks, so the search is exhaustive; each of its steps is recomputed here."""
    datasets = {"a": answerable, "b": replace(answerable, samples=answerable.samples[:6])}
    found = search(tiny_engine, datasets, width=6, most_removed=3, **SETTINGS)
    assert [len(removed) for removed in found.removed_sets] == [1, 2, 3]
    assert (found.sets_tried, found.num_samples, found.width) == (4 + 6 + 4, 16, 6)
    for removed, accuracy in zip(found.removed_sets, found.accuracies, strict=True):
        best = max(plain_accuracy(tiny_engine, datasets, others) for others in combinations((3, 4, 5, 6), len(removed)))
        assert plain_accuracy(tiny_engine, datasets, removed) == pytest.approx(best) == pytest.approx(accuracy)


def plain_accuracy(engine, datasets, removed):
    knobs = DecoderKnobs(4, tuple(b for b in range(7) if b not in removed))
    hits = [
        [exact(plain_answers(engine, s, "high", knobs), s.answers) for s in questions.samples]
        for questions in datasets.values()
    ]
    return sum(sum(part) / len(part) for part in hits) / len(hits)


def test_a_narrow_beam_goes_on_from_the_best(tiny_engine, answerable):
    found = search(tiny_engine, {"a": answerable}, width=1, most_removed=3, **SETTINGS)
    assert found.sets_tried == 4 + 3 + 2
    smaller, larger = (set(removed) for removed in found.removed_sets[:2])
    assert smaller < larger
