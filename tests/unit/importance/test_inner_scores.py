import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.importance.inner_scores import internal_scores
from adamolmo.importance.rules import INTERNAL_RULES
from adamolmo.knobs import DecoderKnobs


def questions(samples) -> Questions:
    return Questions(samples, "tiny", vqa_score)


@pytest.fixture(scope="module")
def blocks():
    return (3, 4, 5, 6)


@pytest.fixture
def scores(tiny_engine, tiny_samples):
    return internal_scores(tiny_engine, questions(tiny_samples), "high", batch_size=32)


def teacher_forced(engine, sample):
    """Inputs of one sample with its most frequent answer behind the prompt, and the ids that are to be predicted."""
    row = engine.prepare(sample.open_image(), sample.question, "tiny", "high")
    answers = list(sample.answers)
    answer = engine.backend.tokenizer.encode(max(answers, key=answers.count))
    ids = torch.cat([row.input_ids, torch.tensor([answer])], dim=1)
    return ids, row, [*answer, engine.backend.tokenizer.eos_id]


def states(engine, sample):
    """Hidden states before each block and after the last, one sample alone, without a cache or padding."""
    ids, row, _ = teacher_forced(engine, sample)
    model = engine.backend.model
    features = model.vision_backbone(row.pixels, row.masks)
    with torch.no_grad():
        prefix = model.run_prefix(model.embed(ids, features, row.image_input_idx))
        found = [prefix.hidden]
        for block in (3, 4, 5, 6):
            found.append(model.forward_blocks(found[-1], [block], 4, prefix.positions))
    return found


def test_every_sample_and_block_has_a_score(scores):
    assert scores.keys() == set(INTERNAL_RULES)
    for values in scores.values():
        assert values.shape == (10, 4)
        assert (values > 0).all()
        assert values.std(axis=0).min() > 0


def test_activation_norm_is_the_relative_change_of_the_hidden_state(tiny_engine, tiny_samples, scores):
    for row in (0, 7):
        found = states(tiny_engine, tiny_samples[row])
        changes = [
            ((after - before).norm(dim=-1) / before.norm(dim=-1)).mean().item()
            for before, after in zip(found, found[1:], strict=False)
        ]
        assert scores["activation_norm"][row] == pytest.approx(changes, rel=1e-4)


def test_gradient_is_the_slope_of_the_loss_as_the_block_fades(tiny_engine, tiny_samples, scores, blocks):
    """Block outputs scaled by 1 - h and 1 + h give the derivative by central differences."""
    model, step = tiny_engine.backend.model, 1e-3
    for row in (0, 7):
        sample = tiny_samples[row]
        _, prompt, targets = teacher_forced(tiny_engine, sample)
        before = states(tiny_engine, sample)[0]
        start = prompt.input_ids.shape[1] - 1
        positions = positions_of(tiny_engine, sample)

        def loss(faded, amount, x=before, positions=positions, start=start, targets=targets):
            with torch.no_grad():
                for block in blocks:
                    change = model.forward_blocks(x, [block], 4, positions) - x
                    x = x + change * (1 + amount * (block == faded))
                logits = model.lm_head(model.transformer["ln_f"](x[0, start : start + len(targets)]))
            return F.cross_entropy(logits.double(), torch.tensor(targets)).item()

        slopes = [abs(loss(block, step) - loss(block, -step)) / (2 * step) for block in blocks]
        assert scores["gradient"][row] == pytest.approx(slopes, rel=0.05, abs=0.02)


def positions_of(engine, sample):
    ids, row, _ = teacher_forced(engine, sample)
    features = engine.backend.model.vision_backbone(row.pixels, row.masks)
    return engine.backend.model.run_prefix(engine.backend.model.embed(ids, features, row.image_input_idx)).positions


def test_attention_that_is_focused_on_one_token_scores_highest(tiny_engine, tiny_samples):
    """With queries of zero every token sees all others alike: entropy is largest and the score zero."""
    weight = tiny_engine.backend.model.transformer["blocks"][4].attn.q_norm.weight

    def scores_with(value):
        before = weight.clone()
        weight.fill_(value)
        try:
            return internal_scores(tiny_engine, questions(tiny_samples[:4]), "high", batch_size=32)["attention_entropy"]
        finally:
            weight.copy_(before)

    even, plain, focused = (scores_with(value) for value in (0.0, 1.0, 1e3))
    assert even[:, 1] == pytest.approx(0.0, abs=1e-5)
    assert (plain[:, 1] > 0.001).all()
    assert (focused[:, 1] > 0.8).all()
    np.testing.assert_array_equal(even[:, 0], plain[:, 0])


def test_batches_do_not_change_scores(tiny_engine, tiny_samples, scores):
    alone = internal_scores(tiny_engine, questions(tiny_samples), "high", batch_size=1)
    for rule, values in scores.items():
        np.testing.assert_allclose(alone[rule], values, rtol=1e-3, atol=1e-5)


def test_the_model_is_as_before(tiny_engine, tiny_samples, scores):
    assert not any(parameter.requires_grad for parameter in tiny_engine.backend.model.parameters())
    assert DecoderKnobs(4, tuple(range(7))) == tiny_engine.backend.model.full_knobs
