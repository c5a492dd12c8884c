from collections import Counter

import pytest
import torch

from adamolmo.controllers.static import StaticController
from adamolmo.grid import answer_grid, batches_by_length
from adamolmo.knobs import DecoderKnobs


def prepare(engine, samples, tier):
    return [engine.prepare(s.open_image(), s.question, "tiny", tier) for s in samples]


@pytest.mark.parametrize("tier", ["low", "high"])
def test_batched_answers_equal_the_engine_for_every_config(tiny_engine, tiny_samples, tiny_grid, tier):
    """The last samples come first: a long row beside short ones, crops of several tilings."""
    samples = tiny_samples[::-1]
    settings = {c: tiny_engine.decoder_knobs(c) for c in tiny_grid if c.tier == tier}
    grid = answer_grid(tiny_engine, prepare(tiny_engine, samples, tier), settings)
    assert grid.keys() == settings.keys()
    for config, answers in grid.items():
        for sample, tokens in zip(samples, answers, strict=True):
            controller = StaticController(f"static-{config}", config)
            alone = tiny_engine.answer(sample.open_image(), sample.question, "tiny", controller, 1.0)
            assert (tiny_engine.decode_answer(tokens), len(tokens)) == (alone.answer, alone.output_tokens)


def test_settings_that_do_not_nest_are_answered_too(tiny_engine, tiny_samples):
    """Skipping any single block, as importance does: the plain forward pass without the block says the same."""
    model = tiny_engine.model
    settings = {block: DecoderKnobs(4, tuple(b for b in range(7) if b != block)) for block in (3, 4, 5, 6)}
    rows = prepare(tiny_engine, tiny_samples, "high")
    grid = answer_grid(tiny_engine, rows, settings)
    for block, answers in grid.items():
        for row, tokens in zip(rows, answers, strict=True):
            ids = row.input_ids
            for token in [*tokens, 0][:4]:  # teacher forced, the end token is 0
                logits = model(ids, None, row.pixels, row.masks, row.image_input_idx, settings[block])
                assert logits[0, -1].argmax() == token
                ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    assert len({str(answers) for answers in grid.values()}) == 4


def test_shared_blocks_run_once(tiny_engine, tiny_samples, tiny_grid):
    settings = {c: tiny_engine.decoder_knobs(c) for c in tiny_grid if c.tier == "low"}
    runs, blocks = Counter(), tiny_engine.model.transformer["blocks"]
    handles = [
        block.register_forward_pre_hook(
            lambda module, args, index=index: runs.update([(index, args[1])] if args[0].shape[1] > 1 else [])
        )
        for index, block in enumerate(blocks)
    ]
    try:
        answer_grid(tiny_engine, prepare(tiny_engine, tiny_samples[:3], "low"), settings)
    finally:
        for handle in handles:
            handle.remove()
    assert [runs[block, 4] for block in (0, 1, 2)] == [1, 1, 1]
    # Removal order 5, 3: with 3 run once, without it once; 4 and 6 behind each branch.
    for top_k in (2, 3, 4):
        assert [runs[block, top_k] for block in (3, 4, 5, 6)] == [1, 2, 1, 3]


def test_batches_hold_every_sample_once_sorted_by_length(tiny_engine, tiny_samples):
    batches = batches_by_length(tiny_engine, tiny_samples, "tiny", "high", batch_size=4)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(10))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    lengths = [row.input_ids.shape[1] for row in prepare(tiny_engine, [tiny_samples[i] for i in order], "high")]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 5
