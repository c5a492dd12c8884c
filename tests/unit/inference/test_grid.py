from collections import Counter
from dataclasses import replace

import pytest
import torch

from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.inference import grid as grid_module
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.grid import (
    BatchLimits,
    answer_grid,
    answer_samples,
    batches_by_length,
    halving,
    image_batches,
    num_block_runs,
    prepare_group,
)
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.packing import pack


def questions(samples) -> Questions:
    return Questions(samples, "tiny", vqa_score)


def prepare(engine, samples, tier):
    """One group per sample: nothing is shared between questions."""
    return [prepare_group(engine, [sample], "tiny", tier) for sample in samples]


def variants_of(engine, grid, tier):
    return {config: engine.decoder_knobs(config) for config in grid if config.tier == tier}


def alone(engine, sample, config):
    return engine.answer(sample.open_image(), sample.question, "tiny", FixedController(config), Limit(1.0))


@pytest.mark.parametrize("tier", ["low", "high"])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_shared_answers_equal_the_engine_for_every_config(tiny_engine, tiny_samples, tiny_grid, tier, batch_size):
    """Two questions per image, crops of several tilings, long rows beside short ones; one image has three questions."""
    samples = [*tiny_samples, replace(tiny_samples[4], sample_id="third", question="what colour ?")]
    variants = variants_of(tiny_engine, tiny_grid, tier)
    answered = list(answer_samples(tiny_engine, questions(samples), tier, variants, BatchLimits(batch_size)))
    assert sorted(entry.sample.sample_id for entry in answered) == sorted(sample.sample_id for sample in samples)
    for entry in answered:
        assert entry.tokens.keys() == variants.keys()
        for config, tokens in entry.tokens.items():
            one = alone(tiny_engine, entry.sample, config)
            assert (tiny_engine.backend.decode_answer(tokens), len(tokens)) == (one.answer, one.output_tokens)
            assert (entry.num_crops, entry.input_tokens) == (one.num_crops, one.input_tokens)
    assert len({str(entry.tokens) for entry in answered}) > 5


def test_settings_that_do_not_nest_are_answered_too(tiny_engine, tiny_samples):
    """Skipping any single block, as importance does: the plain forward pass without the block says the same."""
    model = tiny_engine.backend.model
    variants = {block: DecoderKnobs(4, tuple(b for b in range(7) if b != block)) for block in (3, 4, 5, 6)}
    groups = prepare(tiny_engine, tiny_samples, "high")
    grid = answer_grid(tiny_engine, groups, variants)
    for (row,), (answers,) in zip(groups, grid, strict=True):
        for block, tokens in answers.items():
            ids = row.input_ids
            for token in [*tokens, 0][:4]:  # teacher forced, the end token is 0
                logits = model(ids, None, row.pixels, row.masks, row.image_input_idx, variants[block])
                assert logits[0, -1].argmax() == token
                ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    assert len({str([answers[block] for (answers,) in grid]) for block in variants}) == 4


def test_shared_blocks_run_once(tiny_engine, tiny_samples, tiny_grid):
    variants = variants_of(tiny_engine, tiny_grid, "low")
    runs, blocks = Counter(), tiny_engine.backend.model.transformer["blocks"]
    handles = [
        block.register_forward_pre_hook(
            lambda module, args, index=index: runs.update([(index, args[1])] if args[0].shape[1] > 1 else [])
        )
        for index, block in enumerate(blocks)
    ]
    try:
        answer_grid(tiny_engine, prepare(tiny_engine, tiny_samples[:3], "low"), variants)
    finally:
        for handle in handles:
            handle.remove()
    assert [runs[block, 4] for block in (0, 1, 2)] == [1, 1, 1]
    # Removal order 5, 3: with 3 run once, without it once; 4 and 6 behind each branch.
    for top_k in (2, 3, 4):
        assert [runs[block, top_k] for block in (3, 4, 5, 6)] == [1, 2, 1, 3]
    assert num_block_runs(list(variants.values()), 3) == 3 * (1 + 2 + 1 + 3)


def test_an_image_is_encoded_once_for_all_its_questions(tiny_engine, tiny_samples, tiny_grid, monkeypatch):
    encoded, encode = [], tiny_engine.backend.model.vision_backbone.forward
    monkeypatch.setattr(
        tiny_engine.backend.model.vision_backbone,
        "forward",
        lambda pixels, masks: encoded.append(pixels) or encode(pixels, masks),
    )
    variants = variants_of(tiny_engine, tiny_grid, "high")
    answered = list(answer_samples(tiny_engine, questions(tiny_samples), "high", variants, BatchLimits(64)))
    crops = {entry.sample.image_id: entry.num_crops for entry in answered}
    assert len(crops) == 5
    assert [pixels.shape[1] for pixels in encoded] == [sum(crops.values())]


def test_packed_questions_share_what_they_have_in_common(tiny_engine, tiny_samples):
    rows = prepare_group(tiny_engine, tiny_samples[:2], "tiny", "low")
    prompts = pack([rows, rows[:1]])
    both, one = (sum(row.input_ids.shape[1] for row in part) for part in (rows, rows[:1]))
    shared = int((prompts.segments[0] == -1).sum())
    image_tokens = int((rows[0].image_input_idx >= 0).sum())
    assert shared > image_tokens
    assert prompts.input_ids.shape[1] == both - shared
    assert (prompts.segments[1] == -2).sum() == both - shared - one
    assert prompts.lengths.tolist() == [[row.input_ids.shape[1] for row in rows], [one, 0]]
    assert prompts.asked.tolist() == [[True, True], [True, False]]


def test_batches_hold_every_sample_once_sorted_by_length(tiny_engine, tiny_samples):
    batches = image_batches(tiny_engine, questions(tiny_samples), "high", BatchLimits(4))
    assert [[len(group) for group in batch] for batch in batches] == [[2, 2], [2, 2], [2]]
    order = [sample for batch in batches for group in batch for sample in group]
    assert sorted(sample.sample_id for sample in order) == sorted(sample.sample_id for sample in tiny_samples)
    lengths = [pack([group]).input_ids.shape[1] for batch in batches for group in prepared(tiny_engine, batch)]
    assert lengths == sorted(lengths)
    single = batches_by_length(tiny_engine, questions(tiny_samples), "high", batch_size=4)
    assert sorted(index for batch in single for index in batch) == list(range(10))
    assert [len(batch) for batch in single] == [4, 4, 2]


def prepared(engine, batch):
    return [prepare_group(engine, group, "tiny", "high") for group in batch]


def test_memory_bounds_a_batch(tiny_engine, tiny_samples):
    def sizes(memory_bytes):
        limits = BatchLimits(64, memory_bytes)
        return [len(batch) for batch in image_batches(tiny_engine, questions(tiny_samples), "high", limits)]

    assert sizes(1) == [1, 1, 1, 1, 1]
    assert sizes(float("inf")) == [5]
    largest = [max(sizes(1e3 * kilobytes)) for kilobytes in (50, 100, 200, 400, 800, 1600)]
    assert largest == sorted(largest)
    assert {2, 3, 4} & set(largest)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_and_tried_again(
    tiny_engine, tiny_samples, tiny_grid, monkeypatch, capsys, error
):
    variants = variants_of(tiny_engine, tiny_grid, "low")

    def answers(batch_size):
        entries = answer_samples(tiny_engine, questions(tiny_samples), "low", variants, BatchLimits(batch_size))
        return {entry.sample.sample_id: entry.tokens for entry in entries}

    expected, tried, real = answers(64), [], grid_module.answer_grid

    def too_small(engine, groups, variants):
        tried.append(len(groups))
        if len(groups) > 2:
            raise error
        return real(engine, groups, variants)

    monkeypatch.setattr(grid_module, "answer_grid", too_small)
    assert answers(64) == expected
    assert tried == [5, 2, 3, 1, 2]
    assert "out of memory with 5 images at once: trying half" in capsys.readouterr().err


def test_one_image_that_does_not_fit_is_one_sentence():
    def fail(items):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    with pytest.raises(AdaMolmoError, match="one image alone exceeds the device's memory .CUDA out of memory. Tried"):
        halving(fail, [1, 2])


def test_other_errors_are_not_swallowed():
    def fail(items):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        halving(fail, [1, 2])
