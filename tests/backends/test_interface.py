"""One contract for every model of the study: MolmoE and a tiny random checkpoint of each family of transformers.

Nothing of a backend's inside is used, only `backend.interface`, and `inference.engine` and `inference.grid` above it:
what a study does with a model. How the families do it is in `test_contract.py`.
"""

import numpy as np
import torch
from asking import NEW_TOKENS, PREFIX, answer, asked, decoded, engine_of, grid, prompts_of, samples_of, settings
from PIL import Image
from requests_of import QUESTIONS

from adamolmo.data.samples import Questions
from adamolmo.data.scoring import SCORERS
from adamolmo.inference.clock import modelled_ms
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.grid import BatchLimits, answer_grid, answer_samples
from adamolmo.knobs import DecoderKnobs, KnobConfig

SHAPES = ((64, 64), (150, 200), (320, 1280), (1280, 320), (33, 500), (28, 28), (7, 9))


# Text and images.


def test_a_prompts_size_is_said_without_preparing_it_and_bounded(backend):
    for question in ("yes", *QUESTIONS):
        read = backend.read_question(question, "vqa2")
        largest = backend.largest_prompt(read)
        for tier in backend.tiers:
            for width, height in SHAPES:
                image = Image.new("RGB", (width, height))
                (prompt,) = backend.prepare(image, [read], tier, backend.sizes.max_positions)
                said = backend.prompt_size(image, read, tier)
                assert said == (prompt.num_crops, prompt.num_tokens), (tier, image.size)
                assert said[0] <= largest[0] and said[1] <= largest[1], (tier, image.size)


def test_a_group_adds_to_a_batch_at_most_what_is_said(backend, pictures):
    for tier in backend.tiers:
        for picture, questions in zip(pictures, (QUESTIONS, QUESTIONS[:1], QUESTIONS[1:]), strict=True):
            read = [backend.read_question(question, "vqa2") for question in questions]
            prompts = backend.prepare(picture, read, tier, backend.prompt_room(0))
            with torch.inference_mode():
                tokens = int(backend.open_batch([prompts], 0).real.sum())
            num_crops, said = backend.group_size(picture, read, tier)
            assert num_crops == prompts[0].num_crops
            assert tokens <= said <= sum(prompt.num_tokens for prompt in prompts)


def test_an_image_is_the_same_as_pixels_and_as_a_picture(engine, pictures):
    config = KnobConfig(engine.backend.tiers[-1], engine.backend.sizes.top_k, engine.backend.sizes.num_layers)
    assert asked(engine, np.asarray(pictures[0]), config) == asked(engine, pictures[0], config)


def test_an_answers_ids_are_its_text_with_an_end(backend):
    assert backend.decode_answer(backend.answer_ids("red number")) == "red number"


def test_a_pooled_question_is_one_embedding_and_depends_on_the_words(backend):
    pooled = [backend.pool_question(backend.read_question(question, None)) for question in QUESTIONS]
    assert {(tuple(one.shape), one.dtype) for one in pooled} == {((1, backend.sizes.d_model), torch.float32)}
    assert not torch.equal(pooled[0], pooled[1])


# Requests, alone and many at once.


def test_requests_one_at_a_time_are_those_of_the_grid(engine, pictures):
    backend, samples = engine.backend, samples_of(pictures)
    said = set()
    for tier in {backend.tiers[0], backend.tiers[-1]}:
        variants = {config: engine.decoder_knobs(config) for config in grid(backend, tier)}
        questions = Questions(samples, None, SCORERS["vqa"])
        found = {one.sample: one for one in answer_samples(engine, questions, tier, variants, BatchLimits(size=4))}
        assert found.keys() == set(samples)
        for sample, one in found.items():
            for config in variants:
                alone = asked(engine, sample.open_image(), config, sample.question)
                tokens = one.tokens[config]
                assert (backend.decode_answer(tokens), len(tokens)) == (alone.answer, alone.output_tokens), config
                assert (one.num_crops, one.input_tokens) == (alone.num_crops, alone.input_tokens)
                said.add(tuple(tokens))
    assert len(said) > 4  # so that there was something to get wrong


def test_a_block_skipped_in_a_batch_is_that_block_skipped_alone(engine, pictures):
    backend, variants = engine.backend, dict(enumerate(settings(engine.backend)))
    groups = [prompts_of(backend, picture, QUESTIONS[:count]) for count, picture in enumerate(pictures, start=1)]
    with torch.inference_mode():
        together = answer_grid(engine, groups, variants)
    for group, answers in zip(groups[1:], together[1:], strict=True):
        for prompt, of_prompt in zip(group[1:], answers[1:], strict=True):
            assert of_prompt == {key: answer(backend, prompt, knobs) for key, knobs in variants.items()}


def test_what_is_not_remembered_runs_as_what_is_and_lets_gradients_flow(backend, pictures):
    with torch.no_grad():
        batch = backend.open_batch([prompts_of(backend, picture) for picture in pictures], 0)
    hidden = batch.hidden.clone().requires_grad_()
    out = batch.block(hidden, PREFIX, 1, remember=False)
    torch.testing.assert_close(out, batch.block(batch.hidden, PREFIX, 1), rtol=0, atol=5e-5)
    out[batch.real].square().sum().backward()
    assert hidden.grad.isfinite().all() and (hidden.grad[batch.real].abs().sum(dim=-1) > 0).all()


def test_an_answer_behind_a_prompt_is_continued_as_the_model_did(backend, pictures):
    for knobs in settings(backend)[:: len(settings(backend)) // 3]:
        (prompt,) = prompts_of(backend, pictures[0])
        said = answer(backend, prompt, knobs)
        for known in range(1, len(said)):
            assert (
                answer(backend, backend.with_answer(prompt, said[:known]), knobs)[: len(said) - known] == said[known:]
            )
        with torch.inference_mode():  # all of its tokens in one pass
            batch = backend.open_batch([[backend.with_answer(prompt, said)]], 0)
            hidden = batch.hidden
            for block in knobs.blocks[PREFIX:]:
                hidden = batch.block(hidden, block, knobs.top_k, remember=False)
            predicted = backend.logits(hidden[batch.real]).argmax(dim=-1).tolist()
        assert predicted[prompt.num_tokens - 1 :][: len(said)] == said


def test_an_overview_that_is_used_again_leaves_answers_as_they_are(backend, pictures):
    with torch.inference_mode():
        loaded = [backend.load_overview(picture) for picture in pictures]
        alone = [backend.encode_overviews([one]) for one in loaded]
        together = backend.encode_overviews(loaded)
    for one, features in zip(alone, together.features, strict=True):
        torch.testing.assert_close(one.features[0], features, rtol=0, atol=5e-5)
    for picture, overview in zip(pictures, alone, strict=True):
        for tier in backend.tiers:
            (prompt,) = prompts_of(backend, picture, tier=tier)
            for knobs in (backend.sizes.full_knobs, settings(backend)[1]):
                assert answer(backend, prompt, knobs, overview=overview.reusable) == answer(backend, prompt, knobs)
            with torch.inference_mode():
                costs = [backend.see(backend.to_device(prompt), kept)[1].flops for kept in (overview.reusable, None)]
            assert costs[0] <= costs[1] and (tier != backend.tiers[0] or costs[0] < costs[1])


class LooksFirst(FixedController):
    """Has the image encoded before it chooses what it would have chosen anyway."""

    def reads(self, limit):
        return frozenset({"overview", "size", "question", "thumbnail"})


def test_a_controller_that_looks_first_gets_the_same_answers_and_pays_for_it(engine, pictures):
    for config in grid(engine.backend, engine.backend.tiers[0]):
        blind = asked(engine, pictures[0], config)
        looking = engine.answer(pictures[0], QUESTIONS[0], None, LooksFirst(config), Limit())
        assert looking.answer == blind.answer and looking.network_decided and not blind.network_decided
        assert looking.stages.controller_ms > blind.stages.controller_ms
        assert looking.stages.prefill_ms == blind.stages.prefill_ms
        assert looking.flops >= blind.flops


def test_requests_may_be_seen_in_one_order_and_answered_in_another(backend, pictures):
    prompts = [
        *prompts_of(backend, pictures[0], tier=backend.tiers[-1]),
        *prompts_of(backend, pictures[2], QUESTIONS[1:2]),
    ]
    one, other = settings(backend)[:2]
    want = [answer(backend, prompts[0], one), answer(backend, prompts[1], other)]
    with torch.inference_mode():
        moved = [backend.to_device(prompt) for prompt in prompts]
        seen = [backend.see(prompt)[0] for prompt in moved]
        second = decoded(backend, moved[1], seen[1], other)
        assert [decoded(backend, moved[0], seen[0], one), second] == want


def test_a_request_and_a_batch_do_not_disturb_each_other(backend, pictures):
    (prompt,), group = prompts_of(backend, pictures[0], tier=backend.tiers[-1]), prompts_of(backend, pictures[2])
    one, other = settings(backend)[-2], settings(backend)[1]
    want = answer(backend, prompt, one), answer(backend, group[0], other)
    with torch.inference_mode():
        batch = backend.open_batch([group], NEW_TOKENS)
        prompt = backend.to_device(prompt)
        cache = backend.new_cache(prompt.num_tokens + NEW_TOKENS)
        prefix = backend.run_prefix(prompt, backend.see(prompt)[0], cache)
        hidden = batch.hidden
        for block in other.blocks[PREFIX:]:
            hidden = batch.block(hidden, block, other.top_k)
        first = backend.first_token(prefix, one, cache)
        of_batch = batch.generate(hidden, other, NEW_TOKENS)
        assert (backend.continue_greedily(first, prefix, one, cache, NEW_TOKENS), of_batch[0][0]) == want


# Cost, and files.


def test_every_knob_lowers_the_modelled_latency(backend):
    """Of the same request with an answer of the same length; a large image, of which dear tiers make more."""
    image, costs = Image.new("RGB", (1000, 1000)), backend.costs
    read = backend.read_question(QUESTIONS[0], None)

    def ms(tier: str, top_k: int, num_blocks: int) -> float:
        num_crops, tokens = backend.prompt_size(image, read, tier)
        knobs = DecoderKnobs(top_k, tuple(range(num_blocks)))
        stages = costs.vision(num_crops), costs.prefix(tokens), costs.adaptive(tokens, knobs)
        return sum(map(modelled_ms, (*stages, costs.decode(tokens, NEW_TOKENS, knobs))))

    sizes, (cheapest, *_, dearest) = backend.sizes, backend.tiers
    by_tier = [ms(tier, sizes.top_k, sizes.num_layers) for tier in backend.tiers]
    by_top_k = [ms(dearest, top_k, sizes.num_layers) for top_k in range(1, sizes.num_experts + 1)]
    by_blocks = [ms(cheapest, 1, blocks) for blocks in range(PREFIX, sizes.num_layers + 1)]
    for latencies in (by_tier, by_top_k, by_blocks):
        assert latencies == sorted(set(latencies)), latencies


def test_a_prepared_model_answers_as_the_one_it_was_made_of(model, pictures):
    original, prepared = engine_of(model.original), engine_of(model.backend)
    assert (model.original.name, model.original.sizes) == (model.backend.name, model.backend.sizes)
    for tier in model.tiers:
        for config in grid(model.backend, tier)[::2]:
            assert asked(original, pictures[0], config) == asked(prepared, pictures[0], config)
