import json
from dataclasses import replace
from itertools import combinations
from typing import get_args

import pytest
import torch

from adamolmo.config.profiling import ImportanceSettings
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.importance.accuracy_drop import (
    RULES,
    accuracy_without,
    compare_rules,
    merge,
    rankings,
    score_blocks,
    spearman,
)
from adamolmo.importance.beam_search import search
from adamolmo.inference.ranking import INTERNAL_RULES, load_ranking
from adamolmo.knobs import DecoderKnobs

SELECTIONS = get_args(ImportanceSettings.model_fields["selection"].annotation)


def exact(prediction, answers):
    return float(prediction == answers[0])


def plain_answers(engine, sample, tier, knobs):
    """The answer by repeated full forward passes, without cache or batching."""
    row = engine.prepare(sample.open_image(), sample.question, "tiny", tier)
    ids, tokens = row.input_ids, []
    while len(tokens) < engine.max_new_tokens:
        with torch.inference_mode():
            token = engine.model(ids, None, row.pixels, row.masks, row.image_input_idx, knobs)[0, -1].argmax().item()
        if token == engine.tokenizer.eos_id:
            break
        tokens.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return engine.decode_answer(tokens)


@pytest.fixture
def answerable(tiny_engine, tiny_samples):
    """Samples whose reference is what the full model says, save for two."""
    full = tiny_engine.model.full_knobs
    answers = [plain_answers(tiny_engine, s, "high", full) for s in tiny_samples]
    return [
        replace(s, answers=(a if i > 1 else "never",))
        for i, (s, a) in enumerate(zip(tiny_samples, answers, strict=False))
    ]


def score(engine, samples, **overrides):
    settings = {"tier": "high", "batch_size": 4, "max_failed_fraction": 0.2} | overrides
    return score_blocks(engine, samples, "tiny", exact, **settings)


def test_scores_equal_plain_forward_passes_without_the_block(tiny_engine, answerable):
    result = score(tiny_engine, answerable)
    assert result["baseline_accuracy"] == pytest.approx(0.8)
    assert result["num_samples"] == 10
    assert list(result["scores"]) == ["3", "4", "5", "6"]
    for block in (3, 4, 5, 6):
        knobs = DecoderKnobs(4, tuple(b for b in range(7) if b != block))
        hits = [exact(plain_answers(tiny_engine, s, "high", knobs), s.answers) for s in answerable]
        assert result["scores"][str(block)] == pytest.approx(0.8 - sum(hits) / 10)
        # Two questions per image: the halves are the questions about every other image.
        first_half = [0, 1, 4, 5, 8, 9]
        baseline = sum(i > 1 for i in first_half) / 6
        assert result["half_scores"][0][str(block)] == pytest.approx(baseline - sum(hits[i] for i in first_half) / 6)
    assert any(result["scores"].values())


def test_unreadable_image_is_listed_and_left_out(tiny_engine, answerable):
    broken = [*answerable, replace(answerable[0], sample_id="torn", image=answerable[0].image[:60])]
    result = score(tiny_engine, broken)
    assert result["num_samples"] == 10
    assert [f["sample_id"] for f in result["failed"]] == ["torn"]
    assert "cannot be read" in result["failed"][0]["reason"]
    with pytest.raises(AdaMolmoError, match="1 of 11 samples are unreadable, expected at most 5 %.*torn"):
        score(tiny_engine, broken, max_failed_fraction=0.05)


def dataset_scores(scores, baseline, halves):
    def named(values):
        return dict(zip(("3", "4", "5"), values, strict=True))

    described = {"scores": named(scores), "half_scores": [named(half) for half in halves]}
    return {"num_samples": 10, "baseline_accuracy": baseline, **described, "failed": []}


def merged_of(datasets, selection="accuracy_drop", **settings):
    norms = {"3": 3.0, "4": 1.0, "5": 2.0}
    described = {"scores": norms, "half_scores": [norms] * 2}
    internal = {name: {"rules": dict.fromkeys(INTERNAL_RULES, described)} for name in datasets}
    settings = {"internal": internal} | settings
    return merge(datasets, model_checksum="abc", num_blocks=6, selection=selection, seed=0, **settings)


def test_merge_against_hand_computed_values():
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0], [0.0, 0.2, 0.0]])
    b = dataset_scores([0.3, 0.1, 0.2], 0.6, [[0.3, 0.1, 0.0], [0.2, 0.2, 0.0]])
    merged = merged_of({"a": a, "b": b})
    assert merged["scores"] == pytest.approx({"3": 0.2, "4": 0.2, "5": 0.1})
    assert merged["removal_order"] == [5, 4, 3]
    assert merged["baseline_accuracy"] == pytest.approx(0.7)
    assert merged["num_samples"] == 20
    # Halves: (.2, .2, 0) against (.1, .2, 0): mean ranks (1.5, 1.5, 0) and (1, 2, 0).
    assert merged["spearman_between_halves"] == pytest.approx(0.8660254)
    assert merged["agreement"]["accuracy_drop"] == {
        "between_halves": merged["spearman_between_halves"],
        "between_datasets": {"a, b": pytest.approx(-0.5)},  # ranks (2, 3, 1) and (3, 1, 2)
    }
    assert merged["agreement"]["activation_norm"]["between_halves"] == pytest.approx(1.0)


def test_every_rule_has_its_order_and_one_is_used():
    parts = {"a": dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0]] * 2)}
    assert SELECTIONS == RULES
    orders = merged_of(parts)["removal_orders"]
    assert (orders["accuracy_drop"], orders["activation_norm"], orders["prefix"]) == ([5, 3, 4], [4, 5, 3], [5, 4, 3])
    assert sorted(orders["random"]) == [3, 4, 5]
    for rule, order in orders.items():
        merged = merged_of(parts, rule)
        assert (merged["selection"], merged["removal_order"], merged["removed_sets"]) == (rule, order, None)
    assert merged_of(parts, internal=None)["removal_orders"].keys() == {"accuracy_drop", "random", "prefix"}
    searched = merged_of(parts, "beam_search", beam={"removed_sets": [[4], [3, 5]]})
    assert (searched["removal_order"], searched["removed_sets"]) == ([5, 3, 4], [[4], [3, 5]])


def test_spearman():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert spearman([1, 1], [2, 3]) is None


def test_ranking_round_trip_and_refusals(tmp_path):
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0]] * 2)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(merged_of({"a": a})))
    ranking = load_ranking(path, "abc", 6)
    assert ranking.active(4) == (0, 1, 2, 4)
    assert ranking.active(6) == (0, 1, 2, 3, 4, 5)
    with pytest.raises(AdaMolmoError, match="belong to another model"):
        load_ranking(path, "other", 6)
    with pytest.raises(AdaMolmoError, match="expected checksum abc and 7 blocks"):
        load_ranking(path, "abc", 7)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"removal_order": [5, 5]}))
    with pytest.raises(AdaMolmoError, match=r"removal_order is \[5, 5\]"):
        load_ranking(path, "abc", 6)
    path.write_text(json.dumps(merged_of({"a": a}, "beam_search", beam={"removed_sets": [[4], [3, 5]]})))
    searched = load_ranking(path, "abc", 6)
    assert (searched.active(6), searched.active(5)) == ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5))
    assert searched.active(4) == (0, 1, 2, 4)
    with pytest.raises(AdaMolmoError, match="num_active_blocks is 3; this model takes 4 to 6"):
        searched.active(3)
    path.write_text(json.dumps(merged_of({"a": a}, "beam_search", beam={"removed_sets": [[4], [3, 3]]})))
    with pytest.raises(AdaMolmoError, match=r"removed_sets\[1\] is \[3, 3\]; expected 2 different removable blocks"):
        load_ranking(path, "abc", 6)
    path.write_text("{")
    with pytest.raises(AdaMolmoError, match="scores.json: cannot be read as importance scores"):
        load_ranking(path, "abc", 6)


def test_soft_scores_are_averaged(tiny_engine, tiny_samples):
    """The study's own scorer: a baseline between 0 and 1 that the plain pass confirms."""
    result = score_blocks(
        tiny_engine, tiny_samples, "tiny", vqa_score, tier="low", batch_size=3, max_failed_fraction=0.0
    )
    full = tiny_engine.model.full_knobs
    plain = [vqa_score(plain_answers(tiny_engine, s, "low", full), s.answers) for s in tiny_samples]
    assert result["baseline_accuracy"] == pytest.approx(sum(plain) / 10)


def test_beam_search_finds_what_trying_every_set_finds(tiny_engine, answerable):
    """Width 6 keeps every set of 4 blocks, so the search is exhaustive; each of its steps is recomputed here."""
    datasets = {"a": (answerable, "tiny", exact), "b": (answerable[:6], "tiny", exact)}
    found = search(tiny_engine, datasets, tier="high", width=6, most_removed=3, batch_size=4)
    assert [len(removed) for removed in found["removed_sets"]] == [1, 2, 3]
    assert (found["sets_tried"], found["num_samples"], found["width"]) == (4 + 6 + 4, 16, 6)
    for removed, accuracy in zip(found["removed_sets"], found["accuracies"], strict=True):
        best = max(plain_accuracy(tiny_engine, datasets, others) for others in combinations((3, 4, 5, 6), len(removed)))
        assert plain_accuracy(tiny_engine, datasets, removed) == pytest.approx(best) == pytest.approx(accuracy)


def plain_accuracy(engine, datasets, removed):
    knobs = DecoderKnobs(4, tuple(b for b in range(7) if b not in removed))
    hits = [
        [exact(plain_answers(engine, s, "high", knobs), s.answers) for s in samples]
        for samples, _, _ in datasets.values()
    ]
    return sum(sum(part) / len(part) for part in hits) / len(hits)


def test_a_narrow_beam_goes_on_from_the_best(tiny_engine, answerable):
    found = search(tiny_engine, {"a": (answerable, "tiny", exact)}, tier="high", width=1, most_removed=3, batch_size=8)
    assert found["sets_tried"] == 4 + 3 + 2
    smaller, larger = (set(removed) for removed in found["removed_sets"][:2])
    assert smaller < larger


def test_rules_are_compared_by_blocks_kept(tiny_engine, answerable):
    scores = {"num_blocks": 7, "removal_orders": {"accuracy_drop": [5, 3, 4, 6], "prefix": [6, 5, 4, 3]}}
    accuracy = compare_rules(
        tiny_engine,
        answerable,
        "tiny",
        exact,
        rankings(scores, {"removed_sets": [[3], [4, 6]]}),
        tier="high",
        lowest_count=5,
        batch_size=4,
        resamples=50,
        seed=0,
    )
    assert accuracy.keys() == {"accuracy_drop", "prefix", "beam_search"}
    removed = {"accuracy_drop": (3, 5), "prefix": (5, 6), "beam_search": (4, 6)}
    expected = accuracy_without(tiny_engine, answerable, "tiny", exact, "high", list(removed.values()), 10)
    for rule, by_count in accuracy.items():
        assert list(by_count) == ["5", "6", "7"]
        assert by_count["7"]["value"] == pytest.approx(0.8)
        assert by_count["5"]["value"] == pytest.approx(expected[removed[rule]].mean())
        assert by_count["5"]["low"] <= by_count["5"]["value"] <= by_count["5"]["high"]
