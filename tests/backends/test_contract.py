"""What every family of models owes the study: run on a tiny random checkpoint of each.

A row of `families.FAMILIES` is right when this passes for it.
"""

import functools
import threading

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

import torch
from flop_counting import count
from hand_loop import hand_logits
from PIL import Image
from requests_of import QUESTIONS, all_logits, answer, begin, block_sets, decode, prompt_of, words
from stock import stock_inputs, stock_processor
from tiny_families import TINY_FAMILIES, WORDS, build_model

from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import DecoderKnobs

FAMILIES = tuple(TINY_FAMILIES)
ROUNDING = {"rtol": 0, "atol": 5e-5}


@pytest.fixture(params=FAMILIES)
def backend(request, loaded):
    return loaded(request.param)


@pytest.fixture(autouse=True)
def _without_gradients(request):
    """Unless a test is about them."""
    with torch.inference_mode("gradient" not in request.node.name):
        yield


def settings(backend) -> list[DecoderKnobs]:
    return [DecoderKnobs(k, blocks) for k in (1, backend.sizes.top_k) for blocks in block_sets(backend).values()]


def stock_logits(backend, prompt):
    return backend.decoder.model(**stock_inputs(backend, prompt)).logits


def test_prefix_and_rest_are_the_stock_model_to_the_bit_at_every_tier(backend, pictures):
    for tier in backend.tiers:
        prompt = prompt_of(backend, pictures[0], tier=tier)
        stock = stock_logits(backend, prompt)
        assert torch.equal(all_logits(backend, begin(backend, prompt), backend.sizes.full_knobs), stock)


def test_a_pass_with_full_knobs_is_the_stock_model_to_the_bit(backend, pictures):
    prompt = prompt_of(backend, pictures[0])
    stock = stock_logits(backend, prompt)
    with backend.decoder.layers.knobs(backend.sizes.top_k, range(backend.sizes.num_layers)):
        assert torch.equal(stock_logits(backend, prompt), stock)


@pytest.mark.parametrize(
    ("name", "implementation"),
    [*((name, "grouped_mm") for name in FAMILIES), ("qwen3_vl_moe", "eager"), ("qwen3_vl_moe", "batched_mm")],
)
def test_a_top_k_is_that_of_a_model_built_with_it_to_the_bit(name, implementation, loaded, sizes, pictures):
    backend = loaded(name)
    prompt, layers = prompt_of(backend, pictures[0]), backend.decoder.layers
    full = build_model(name, sizes)
    backend.decoder.model.set_experts_implementation(implementation)
    full.set_experts_implementation(implementation)
    differing = 0
    try:
        for top_k in range(1, sizes.experts + 1):
            built = build_model(name, sizes, **{TINY_FAMILIES[name].top_k_key: top_k})
            built.set_experts_implementation(implementation)
            for layer in backend.decoder.prefix:  # the fixed prefix keeps the model's own top_k
                built.get_decoder().layers[layer] = full.get_decoder().layers[layer]
            want = built(**stock_inputs(backend, prompt)).logits
            with layers.knobs(top_k):
                assert torch.equal(stock_logits(backend, prompt), want)
            knobs = DecoderKnobs(top_k, tuple(range(sizes.layers)))
            assert torch.equal(all_logits(backend, begin(backend, prompt), knobs), want)
            differing += not torch.equal(want, full(**stock_inputs(backend, prompt)).logits)
    finally:
        backend.decoder.model.set_experts_implementation("grouped_mm")
    assert differing == sizes.experts - 1  # so that there was something to get wrong


@pytest.mark.parametrize("name", ["qwen3_vl_moe", "aria"])
def test_knobs_are_those_of_a_loop_written_by_hand(name, loaded, pictures):
    backend = loaded(name)
    prompt = prompt_of(backend, pictures[0])
    for knobs in settings(backend):
        got = all_logits(backend, begin(backend, prompt), knobs)
        torch.testing.assert_close(got, hand_logits(backend, prompt, knobs), **ROUNDING)


def test_decoding_with_a_cache_is_recomputing_without(backend, pictures):
    prompt, tokens = prompt_of(backend, pictures[0]), words(backend)
    longer = backend.with_answer(prompt, tokens)
    for knobs in settings(backend):
        got = decode(backend, begin(backend, prompt), knobs, tokens)
        want = all_logits(backend, begin(backend, longer), knobs)[0, prompt.num_tokens - 1 :]
        torch.testing.assert_close(got, want, **ROUNDING)


def test_the_first_token_is_that_of_the_stock_model_and_an_answer_that_of_its_own_generation(backend, pictures):
    prompt, knobs = prompt_of(backend, pictures[0]), backend.sizes.full_knobs
    inputs = stock_inputs(backend, prompt)
    generated = backend.decoder.model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, prompt.num_tokens :]
    want = [token for token in generated.tolist() if token not in backend.end_ids]
    got = answer(backend, begin(backend, prompt), knobs)
    assert got == want


def test_a_budget_token_leaves_the_prompt_as_it_was_to_the_bit(backend, pictures):
    prompt, token = prompt_of(backend, pictures[0]), torch.randn(1, backend.sizes.d_model)
    request = begin(backend, prompt, token)
    assert torch.equal(all_logits(backend, request, backend.sizes.full_knobs), stock_logits(backend, prompt))
    assert request.cache.seen == prompt.num_tokens
    knobs = settings(backend)[1]
    assert answer(backend, request, knobs) == answer(backend, begin(backend, prompt), knobs)


def test_a_budget_token_is_seen_as_one_more_token_of_the_prompt(backend, pictures):
    prompt, (word,) = prompt_of(backend, pictures[0]), words(backend, "red")
    state = begin(backend, prompt, backend.decoder.embed(torch.tensor([word]))).prefix.budget_state
    longer = begin(backend, backend.with_answer(prompt, [word]))
    torch.testing.assert_close(state, longer.prefix.prompts.hidden[:, -1], **ROUNDING)


def batch_of(backend, pictures, questions=(QUESTIONS, QUESTIONS[1:2], QUESTIONS[::-1])):
    groups = []
    for picture, asked in zip(pictures, questions, strict=True):
        read = [backend.read_question(question, None) for question in asked]
        groups.append(backend.prepare(picture, read, backend.tiers[0], backend.prompt_room(16)))
    return groups, backend.open_batch(groups, 6)


def test_a_batch_is_its_prompts_one_by_one(backend, pictures):
    groups, batch = batch_of(backend, pictures)
    rows = [prompt for group in groups for prompt in group]
    assert batch.real.sum(dim=1).tolist() == [prompt.num_tokens for prompt in rows]
    assert not batch.real.all()
    seen = {id(group[0].image): backend.see(backend.to_device(group[0]))[0] for group in groups}
    for knobs in settings(backend)[::3]:
        hidden = batch.hidden
        for block in knobs.blocks[backend.sizes.fixed_prefix_layers :]:
            hidden = batch.block(hidden, block, knobs.top_k)
        answers = [tokens for group in batch.generate(hidden, knobs, 6) for tokens in group]
        for row, prompt in enumerate(rows):
            alone = begin(backend, backend.to_device(prompt), seen=seen[id(prompt.image)])
            want = all_logits(backend, alone, knobs)[0]
            torch.testing.assert_close(backend.logits(hidden[row][batch.real[row]]), want, **ROUNDING)
            assert answers[row] == answer(backend, alone, knobs)


def test_branches_of_a_tree_over_blocks_are_their_settings_alone(backend, pictures):
    groups, batch = batch_of(backend, pictures)
    first, last = backend.sizes.fixed_prefix_layers, backend.sizes.num_layers
    found = {}

    def descend(hidden, block, blocks):
        if block == last:
            found[blocks] = batch.generate(hidden, DecoderKnobs(2, blocks), 6)
            return
        descend(hidden, block + 1, blocks)
        descend(batch.block(hidden, block, 2), block + 1, (*blocks, block))

    descend(batch.hidden, first, tuple(range(first)))
    assert len(found) == 2 ** (last - first)
    seen = {id(group[0].image): backend.see(backend.to_device(group[0]))[0] for group in groups}
    for blocks, answers in list(found.items())[:: max(1, len(found) // 8)]:
        for group, tokens in zip(groups, answers, strict=True):
            for prompt, got in zip(group, tokens, strict=True):
                request = begin(backend, backend.to_device(prompt), seen=seen[id(prompt.image)])
                assert got == answer(backend, request, DecoderKnobs(2, blocks)), blocks


def test_a_block_that_is_not_remembered_has_the_same_output_and_gradient(backend, pictures):
    with torch.no_grad():
        _, batch = batch_of(backend, pictures)
    hidden, block = batch.hidden.clone().requires_grad_(), backend.sizes.fixed_prefix_layers
    out = batch.block(hidden, block, 2, remember=False)
    torch.testing.assert_close(out, batch.block(batch.hidden, block, 2), **ROUNDING)
    out[batch.real].pow(2).sum().backward()
    assert hidden.grad[batch.real].abs().sum() > 0 and hidden.grad.isfinite().all()


def test_an_image_is_seen_once_for_all_its_questions(backend, pictures, monkeypatch):
    seen, see = [], backend.decoder.see
    monkeypatch.setattr(backend.decoder, "see", lambda image: seen.append(image) or see(image))
    groups, _ = batch_of(backend, pictures)
    assert len(seen) == len(groups) < sum(map(len, groups))


def test_an_overview_is_used_again_at_the_cheapest_tier_alone(backend, pictures):
    overview = backend.encode_overviews([backend.load_overview(pictures[0])])
    for tier in backend.tiers:
        prompt = prompt_of(backend, pictures[0], tier=tier)
        seen, cost = backend.see(prompt, overview.reusable)
        again, full_cost = backend.see(prompt)
        assert (cost.flops == 0) == (tier == backend.tiers[0]) and full_cost.flops > 0
        cache, fresh = backend.new_cache(0), backend.new_cache(0)
        got, want = backend.run_prefix(prompt, seen, cache), backend.run_prefix(prompt, again, fresh)
        assert torch.equal(got.prompts.hidden, want.prompts.hidden)
    assert [tokens.shape[1] for tokens in overview.features] == [backend.sizes.d_model]
    assert overview.cost == backend.costs.vision(prompt_of(backend, pictures[0]).num_crops)


def test_two_interleaved_requests_are_two_requests(backend, pictures):
    first = prompt_of(backend, pictures[0])
    second = prompt_of(backend, pictures[2], QUESTIONS[1], backend.tiers[1])
    one, other = (DecoderKnobs(2, blocks) for blocks in list(block_sets(backend).values())[:2])
    want = [answer(backend, begin(backend, first), one), answer(backend, begin(backend, second), other)]
    a, b = begin(backend, first), begin(backend, second)
    begins = backend.first_token(a.prefix, one, a.cache), backend.first_token(b.prefix, other, b.cache)
    stock_logits(backend, second)  # leaves positions in the modules of some families
    got = [
        backend.continue_greedily(begins[0], a.prefix, one, a.cache, 6),
        backend.continue_greedily(begins[1], b.prefix, other, b.cache, 6),
    ]
    assert got == want


def test_knobs_are_set_back_when_a_pass_fails(backend, pictures):
    prompt = prompt_of(backend, pictures[0])
    stock = stock_logits(backend, prompt)
    with pytest.raises(ZeroDivisionError), backend.decoder.layers.knobs(1, range(3)):
        raise ZeroDivisionError
    assert torch.equal(stock_logits(backend, prompt), stock)


def test_a_second_pass_at_the_same_time_is_refused(backend, pictures):
    prompt, faults = prompt_of(backend, pictures[0]), []

    def intrude(run):
        try:
            run()
        except AdaMolmoError as error:
            faults.append(str(error))

    with backend.decoder.layers.knobs(1):
        threads = [
            threading.Thread(target=intrude, args=[run])
            for run in (lambda: begin(backend, prompt), lambda: stock_logits(backend, prompt))
        ]
        for thread in threads:
            thread.start()
            thread.join()
        with pytest.raises(AdaMolmoError, match="one at a time"), backend.decoder.layers.knobs(2):
            pass
    assert faults == ["the model is busy with another request; expected one at a time."] * 2
    assert begin(backend, prompt).prefix.num_tokens == prompt.num_tokens


def test_every_end_token_ends_an_answer(backend, pictures, monkeypatch):
    assert len(backend.end_ids) == 2
    knobs, prompt = backend.sizes.full_knobs, prompt_of(backend, pictures[0])
    monkeypatch.setattr(backend, "end_ids", frozenset({-1}))  # so that it talks on
    said = answer(backend, begin(backend, prompt), knobs, 6)
    assert len(said) == 6
    for end in {said[0], said[-1]}:
        unsaid = {-1, max(set(words(backend, " ".join(WORDS))) - set(said))}
        monkeypatch.setattr(backend, "end_ids", frozenset({end, *unsaid}))
        assert answer(backend, begin(backend, prompt), knobs, 6) == said[: said.index(end)]
        batch = backend.open_batch([[prompt]], 6)
        hidden = batch.hidden
        for block in knobs.blocks[backend.sizes.fixed_prefix_layers :]:
            hidden = batch.block(hidden, block, knobs.top_k)
        assert batch.generate(hidden, knobs, 6) == [[said[: said.index(end)]]]


def test_a_prompts_size_is_known_without_pixels(backend):
    shapes = [(64, 64), (150, 200), (640, 480), (320, 1280), (1280, 320), (33, 500), (1000, 999), (28, 28), (7, 9)]
    for tier in backend.tiers:
        for width, height in shapes:
            image = Image.new("RGB", (width, height))
            question = backend.read_question(QUESTIONS[0], "vqa2")
            (prompt,) = backend.prepare(image, [question], tier, backend.sizes.max_positions)
            assert backend.prompt_size(image, question, tier) == (prompt.num_crops, prompt.num_tokens), (tier, image)
            if min(width, height) > 100 and tier == backend.tiers[-1]:
                begin(backend, backend.to_device(prompt))  # the model has as many features as there are image tokens
        (units, tokens), group = backend.prompt_size(image, question, tier), [question, question]
        assert backend.group_size(image, group, tier) == (units, 2 * tokens)
    largest = backend.largest_prompt(question)
    assert all(backend.prompt_size(Image.new("RGB", shape), question, tier) <= largest for shape in shapes)


def test_a_prompt_is_that_of_the_familys_own_processor(backend, pictures, checkpoint):
    processor = stock_processor(backend, checkpoint(backend.name))
    for picture, tier in zip(pictures, backend.tiers, strict=False):
        arguments = dict(backend.pictures.tiers[tier])
        if arguments.get("crop_to_patches") is False:
            continue  # of which the library's processor counts other tokens than its model has: it raises
        prompt = prompt_of(backend, picture, QUESTIONS[1], tier)
        text = backend.texts.prompt.replace("{question}", QUESTIONS[1])
        want = processor(images=[picture], text=[text], return_tensors="pt", add_special_tokens=False, **arguments)
        mine = stock_inputs(backend, prompt)
        assert mine.keys() >= want.keys()
        for key, tensor in want.items():
            assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(tensor)), key


def test_costs_are_what_torch_counts(backend, pictures):
    """Experts of image tokens are smaller than those of text, for which every token counts: an upper bound there."""
    decoder, costs = backend.decoder, backend.costs
    prompt = prompt_of(backend, pictures[0], tier=backend.tiers[1])
    tokens = prompt.num_tokens
    decoder.model.set_experts_implementation("eager")  # the only one whose products torch can count
    try:
        seen, _ = backend.see(prompt)
        vision = count(lambda: decoder.see(prompt.image))
        prefix = count(lambda: backend.run_prefix(prompt, seen, backend.new_cache(0)))
        assert costs.prefix(tokens).flops == pytest.approx(prefix, rel=slack(backend))
        for knobs in settings(backend)[1:4]:
            request = begin(backend, prompt)
            adaptive = count(functools.partial(backend.first_token, request.prefix, knobs, request.cache))
            assert costs.adaptive(tokens, knobs).flops == pytest.approx(adaptive, rel=slack(backend))
            one = torch.tensor(words(backend, "red"))
            two = functools.partial(backend.continue_greedily, one, request.prefix, knobs, request.cache, 2)
            assert costs.decode(tokens, 1, knobs).flops == count(two)
    finally:
        decoder.model.set_experts_implementation("grouped_mm")
    # Aria's square of 980 px counts as four of 490, without what attention between them adds.
    assert costs.vision(prompt.num_crops).flops == pytest.approx(vision, rel=0.2 if backend.name == "aria" else 1e-9)
    assert costs.memory_bytes(prompt.num_crops, tokens, 6, 4) > costs.num_weights() * costs.element_bytes


def slack(backend) -> float:
    return 0.3 if backend.decoder.family.vision_tokens else 0


def test_a_question_is_pooled_without_special_tokens(backend):
    question = backend.read_question(QUESTIONS[0], None)
    first_word = min(words(backend, " ".join(WORDS)))
    text = [token for token in question.ids if token >= first_word]  # special tokens come first in the vocabulary
    assert len(text) >= 7
    pooled = backend.pool_question(question)
    torch.testing.assert_close(pooled, backend.decoder.embed(torch.tensor(text)).mean(dim=0, keepdim=True))
    assert pooled.dtype == torch.float32


def test_an_answer_is_ids_with_an_end_and_back(backend):
    ids = backend.answer_ids("yes 3")
    assert ids[-1] in backend.end_ids and backend.decode_answer(ids) == "yes 3"
