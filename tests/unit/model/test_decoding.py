import copy
import dataclasses

import pytest
import torch

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.gpu_memory import explain_out_of_memory
from adamolmo.knobs import BlockRanking, DecoderKnobs, KnobConfig
from adamolmo.model.decode_on_cpu import TokenPass
from adamolmo.model.decoding import EagerDecoder, GraphDecoder
from adamolmo.model.inputs import collate
from adamolmo.model.molmoe import MolmoE

MAX_NEW_TOKENS = 6


@pytest.fixture(scope="module")
def deep_model(tiny_config) -> MolmoE:
    """16 blocks and 16 experts of which 8 are used, as the study's knobs need them; random weights."""
    torch.manual_seed(5)
    model = MolmoE(dataclasses.replace(tiny_config, num_layers=16, num_experts=16, top_k=8))
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=2.0 * parameter.shape[-1] ** -0.5)
    model.transformer["wte"].embedding.normal_(std=2.0)
    return model


def prompt_of(model, tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.config.embedding_size, (1, tokens), generator=generator)


def decode(decoder, model, ids, knobs) -> list[int]:
    cache = decoder.new_cache(ids.shape[1] + MAX_NEW_TOKENS)
    prefix = model.run_prefix(model.embed(ids), cache=cache)
    first = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
    return decoder.continue_greedily(first, prefix, knobs, cache, MAX_NEW_TOKENS)


@torch.inference_mode()
def test_all_25_knob_settings_decode_the_same_with_and_without_cache(deep_model):
    ranking = BlockRanking(16, (9, 4, 13, 6))
    eager, static = (kind(deep_model, None) for kind in (EagerDecoder, GraphDecoder))
    ids = prompt_of(deep_model, 11, seed=3)
    answers = set()
    for top_k in range(4, 9):
        for num_blocks in range(12, 17):
            knobs = ranking.decoder_knobs(KnobConfig("any", top_k, num_blocks))
            sequence = ids
            for _ in range(MAX_NEW_TOKENS):
                token = deep_model(sequence, knobs=knobs)[:, -1:].argmax(dim=-1)
                sequence = torch.cat([sequence, token], dim=1)
            expected = sequence[0, ids.shape[1] :].tolist()
            assert decode(eager, deep_model, ids, knobs) == expected
            assert decode(static, deep_model, ids, knobs) == expected
            answers.add(tuple(expected))
    assert len(answers) > 10, "the knobs change too little for this test to say anything"


@torch.inference_mode()
@pytest.mark.parametrize("top_k", [1, 5, 16])  # of 16
def test_a_token_on_the_cpu_has_the_logits_of_the_modules(deep_model, top_k):
    ids, knobs = prompt_of(deep_model, 11), DecoderKnobs(top_k, (0, 1, 2, 5, 9, 15))
    fast, plain = TokenPass(deep_model), deep_model.new_cache(1, 20)
    prefix = deep_model.run_prefix(deep_model.embed(ids), cache=plain)
    deep_model.next_token_logits(prefix, knobs, plain)
    cache = copy.deepcopy(plain)
    for position, token in enumerate([3, 1, 2], start=11):
        expected = deep_model.decode(torch.tensor([token]), torch.tensor([position]), knobs, plain, position + 1)[0]
        found = fast(token, position, knobs, cache)
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    for ours, theirs in zip(cache.keys + cache.values, plain.keys + plain.values, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_an_earlier_request_left_in_the_static_cache_is_not_read(tiny_model):
    eager, static = (kind(tiny_model, None) for kind in (EagerDecoder, GraphDecoder))
    answers = set()
    for seed, length in enumerate([40, 7, 23, 3, 40]):
        ids, knobs = prompt_of(tiny_model, length, seed), DecoderKnobs(3, (0, 1, 2, 4, 5 + seed % 2))
        expected = decode(eager, tiny_model, ids, knobs)
        assert decode(static, tiny_model, ids, knobs) == expected
        answers.add(tuple(expected))
    assert len(answers) == 5


def test_end_token_ends_the_answer_and_is_not_part_of_it(tiny_model):
    ids, knobs = prompt_of(tiny_model, 9), tiny_model.full_knobs
    tokens = decode(GraphDecoder(tiny_model, None), tiny_model, ids, knobs)
    assert len(tokens) == MAX_NEW_TOKENS
    for eos in set(tokens):
        for kind in (EagerDecoder, GraphDecoder):
            assert decode(kind(tiny_model, eos), tiny_model, ids, knobs) == tokens[: tokens.index(eos)]


def test_request_longer_than_the_model_is_refused(tiny_model):
    with pytest.raises(AdaMolmoError, match="needs 513 positions; this model has 512"):
        GraphDecoder(tiny_model, None).new_cache(513)


def test_preparing_makes_each_setting_of_the_decoder_ready_once(tiny_engine, tiny_grid):
    """A setting of the grid that the ranking has no answer for is left out; a request with it is refused."""
    tiny_engine.backend.decoder = GraphDecoder(tiny_engine.backend.model, tiny_engine.backend.tokenizer.eos_id)
    tiny_engine.prepare_decoder([*tiny_grid, KnobConfig("low", 4, 4)])
    passes = dict(tiny_engine.backend.decoder._passes)
    assert passes.keys() == {tiny_engine.decoder_knobs(config) for config in tiny_grid}
    tiny_engine.prepare_decoder(tiny_grid)
    assert all(tiny_engine.backend.decoder._passes[knobs] is run_pass for knobs, run_pass in passes.items())


def test_an_engine_can_be_given_another_longest_answer(tiny_engine, tiny_samples):
    """As lmms-eval's tasks do, which have limits of their own."""
    sample, controller = tiny_samples[1], FixedController(KnobConfig("high", 4, 7))

    def tokens(max_new_tokens):
        tiny_engine.max_new_tokens = max_new_tokens
        return tiny_engine.answer(sample.open_image(), sample.question, "tiny", controller, Limit(100.0)).output_tokens

    lengths = {kind: [] for kind in (EagerDecoder, GraphDecoder)}
    for kind, found in lengths.items():
        tiny_engine.backend.decoder = kind(tiny_engine.backend.model, eos_id=None)
        found += [tokens(limit) for limit in (1, 4, 9)]
    assert list(lengths.values()) == [[1, 4, 9]] * 2


@torch.inference_mode()
def test_batch_of_different_images_equals_one_by_one(tiny_engine, tiny_samples):
    model = tiny_engine.backend.model
    rows = [tiny_engine.prepare(s.open_image(), s.question, "tiny", "high") for s in tiny_samples[1::2]]
    assert len({row.pixels.shape[1] for row in rows}) > 1 and len({row.input_ids.shape[1] for row in rows}) > 2
    batch = collate(rows)
    together = model(batch.input_ids, batch.attention_mask, batch.pixels, batch.masks, batch.image_input_idx)
    for row, logits in zip(rows, together, strict=True):
        alone = model(row.input_ids, None, row.pixels, row.masks, row.image_input_idx)[0]
        torch.testing.assert_close(logits[: len(alone)], alone, rtol=1e-4, atol=1e-4)


def test_running_out_of_gpu_memory_is_one_sentence(tiny_engine, tiny_samples, monkeypatch):
    def fail(*args):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.00 GiB "
            "is free. Including non-PyTorch memory, this process has 78 GiB memory in use."
        )

    monkeypatch.setattr(tiny_engine.backend.model, "embed", fail)
    controller = FixedController(KnobConfig("high", 4, 7))
    expected = r"static-high-k4-b7: out of GPU memory; needs about 0.0 GiB. Tried .* 2.00 GiB. GPU 0 .* free. Free the"
    with pytest.raises(AdaMolmoError, match=expected):
        tiny_engine.answer(tiny_samples[0].open_image(), "what ?", "tiny", controller, Limit(100.0))


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="something else"), explain_out_of_memory(lambda: ("x", 0)):
        raise RuntimeError("something else")
