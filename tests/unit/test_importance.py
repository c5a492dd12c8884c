import json
from dataclasses import replace

import pytest
import torch

from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.importance import merge, score_blocks, spearman
from adamolmo.knobs import DecoderKnobs
from adamolmo.ranking import load_ranking


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
        assert result["half_scores"][0][str(block)] == pytest.approx(0.8 - sum(hits[::2]) / 5)
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
    names = ("3", "4", "5")
    return {
        "num_samples": 10,
        "baseline_accuracy": baseline,
        "scores": dict(zip(names, scores, strict=True)),
        "half_scores": [dict(zip(names, half, strict=True)) for half in halves],
        "failed": [],
    }


def test_merge_against_hand_computed_values():
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0], [0.0, 0.2, 0.0]])
    b = dataset_scores([0.3, 0.1, 0.2], 0.6, [[0.3, 0.1, 0.0], [0.2, 0.2, 0.0]])
    merged = merge({"a": a, "b": b}, model_checksum="abc", num_blocks=6)
    assert merged["scores"] == pytest.approx({"3": 0.2, "4": 0.2, "5": 0.1})
    assert merged["removal_order"] == [5, 4, 3]
    assert merged["baseline_accuracy"] == pytest.approx(0.7)
    assert merged["num_samples"] == 20
    # Halves: (.2, .2, 0) against (.1, .2, 0): mean ranks (1.5, 1.5, 0) and (1, 2, 0).
    assert merged["spearman_between_halves"] == pytest.approx(0.8660254)


def test_spearman():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert spearman([1, 1], [2, 3]) is None


def test_ranking_round_trip_and_refusals(tmp_path):
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0]] * 2)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(merge({"a": a}, model_checksum="abc", num_blocks=6)))
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
