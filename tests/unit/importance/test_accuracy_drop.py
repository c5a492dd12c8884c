import pytest
from plain_answers import exact, plain_answers

from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.importance.accuracy_drop import score_blocks
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import DecoderKnobs


def test_scores_equal_plain_forward_passes_without_the_block(tiny_engine, answerable):
    result = score_blocks(tiny_engine, answerable, "high", BatchLimits(4), [])
    assert result.baseline_accuracy == pytest.approx(0.8)
    assert result.num_samples == 10
    assert list(result.scores) == ["3", "4", "5", "6"]
    for block in (3, 4, 5, 6):
        knobs = DecoderKnobs(4, tuple(b for b in range(7) if b != block))
        hits = [exact(plain_answers(tiny_engine, s, "high", knobs), s.answers) for s in answerable.samples]
        assert result.scores[str(block)] == pytest.approx(0.8 - sum(hits) / 10)
        # Two questions per image: the halves are the questions about every other image.
        first_half = [0, 1, 4, 5, 8, 9]
        baseline = sum(i > 1 for i in first_half) / 6
        assert result.half_scores[0][str(block)] == pytest.approx(baseline - sum(hits[i] for i in first_half) / 6)
    assert any(result.scores.values())


def test_soft_scores_are_averaged(tiny_engine, tiny_samples):
    """The study's own scorer: a baseline between 0 and 1 that the plain pass confirms."""
    result = score_blocks(tiny_engine, Questions(tiny_samples, "tiny", vqa_score), "low", BatchLimits(3), [])
    full = tiny_engine.backend.model.full_knobs
    plain = [vqa_score(plain_answers(tiny_engine, s, "low", full), s.answers) for s in tiny_samples]
    assert result.baseline_accuracy == pytest.approx(sum(plain) / 10)
