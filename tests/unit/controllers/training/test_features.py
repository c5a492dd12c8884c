"""Stored keys and values of the prefix: the budget token's course through them is that of the real model."""

import pytest
import torch

from adamolmo.backend.interface import PromptMemory
from adamolmo.controllers.training.features import (
    Features,
    Readings,
    make_features,
    save_features,
    stack_prompts,
)
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.files.features import FeaturesInfo
from adamolmo.inference.controller import Controller, Decision, Limit
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.budget_prefix import FixedPrefix
from adamolmo.model.decoding import EagerDecoder

TIERS = ("low", "high")
READINGS = Readings(torch.zeros(2, 4), torch.zeros(2, 6), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


@pytest.fixture(scope="module")
def prefix(tiny_model) -> FixedPrefix:
    prefix = FixedPrefix(tiny_model.config)
    weights = {name.removeprefix("transformer."): t for name, t in tiny_model.state_dict().items()}
    prefix.load_state_dict({name: weights[name] for name in prefix.state_dict()})
    return prefix.requires_grad_(False)


@pytest.fixture
def budget_tokens(tiny_config) -> torch.Tensor:
    """Three budgets' tokens."""
    return torch.randn(3, tiny_config.d_model, generator=torch.Generator().manual_seed(1))


def prepare(engine, sample, tier):
    return engine.prepare(sample.open_image(), sample.question, "tiny", tier)


def prompt_of(engine, sample, tier) -> torch.Tensor:
    inputs = prepare(engine, sample, tier)
    features = engine.backend.model.vision_backbone(inputs.pixels, inputs.masks)
    return engine.backend.model.embed(inputs.input_ids, features, inputs.image_input_idx)


def test_states_are_those_of_the_model(tiny_engine, tiny_samples, prefix, budget_tokens):
    """Several prompts of different lengths and several budgets at once, against one request at a time."""
    rows = [prepare(tiny_engine, sample, tier) for sample in tiny_samples[:4] for tier in TIERS]
    prompts = tiny_engine.backend.open_batch([[row] for row in rows], 0).memories()
    assert len({prompt.position for prompt in prompts}) > 2
    states = prefix(budget_tokens.expand(len(rows), -1, -1), *stack_prompts(prompts, torch.float32, "cpu"))
    prompts = [prompt_of(tiny_engine, sample, tier) for sample in tiny_samples[:4] for tier in TIERS]
    for row, prompt in enumerate(prompts):
        for budget, token in enumerate(budget_tokens):
            expected = tiny_engine.backend.model.run_prefix(prompt, budget_token=token[None]).budget_state[0]
            torch.testing.assert_close(states[row, budget], expected, atol=1e-5, rtol=1e-5)


def info(num_layers, kv_width, sample_ids, tiers) -> FeaturesInfo:
    return FeaturesInfo(
        dataset="okvqa",
        model_checksum="checksum",
        fixed_prefix_layers=num_layers,
        kv_width=kv_width,
        sample_ids=sample_ids,
        tiers=tiers,
    )


def test_file_keeps_the_states_within_float16(tiny_engine, tiny_samples, prefix, budget_tokens, tmp_path):
    path = tmp_path / "features" / "okvqa.safetensors"
    make_features(tiny_engine, Questions(tiny_samples, "tiny", vqa_score), "okvqa", 4, "checksum", path)
    features = Features(path)
    ids = tuple(sample.sample_id for sample in tiny_samples)
    assert features.info == info(3, tiny_engine.backend.model.config.d_model, ids, TIERS)
    for index, sample in enumerate(tiny_samples):
        for tier, name in enumerate(TIERS):
            stored = features.prompt(index, tier)
            prompt = prompt_of(tiny_engine, sample, name)
            assert stored.entries.dtype == torch.float16
            assert stored.position == prompt.shape[1]
            assert stored.entries.shape == (3, 2, prompt.shape[1], tiny_engine.backend.model.config.d_model)
            states = prefix(budget_tokens[None], *stack_prompts([stored], torch.float32, "cpu"))
            expected = tiny_engine.backend.model.run_prefix(prompt, budget_token=budget_tokens[:1]).budget_state
            torch.testing.assert_close(states[:, 0], expected, atol=0.02, rtol=0.01)


def test_stage_1_is_trained_on_what_a_request_shows_it(tiny_engine, tiny_samples, tmp_path):
    path = tmp_path / "okvqa.safetensors"
    make_features(tiny_engine, Questions(tiny_samples, "tiny", vqa_score), "okvqa", 4, "checksum", path)
    readings = Features(path).readings
    assert readings.question.shape == (10, 16)
    assert readings.overview.shape == (10, 64)
    for index, sample in enumerate(tiny_samples):
        spy = Spy()
        tiny_engine.answer(sample.open_image(), sample.question, "tiny", spy, Limit(100.0))
        torch.testing.assert_close(readings.question[index : index + 1], spy.read.question)
        torch.testing.assert_close(readings.overview[index : index + 1], spy.read.overview, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(readings.thumbnail[index : index + 1] / 255, spy.read.thumbnail)


class Spy(Controller):
    name = "spy"

    def reads(self, limit):
        return frozenset({"question", "overview", "thumbnail"})

    def predict_stage1(self, inputs):
        self.read = inputs
        return Decision("low", (2, 5))


def test_equal_input_gives_equal_bytes_and_only_the_file(tiny_engine, tiny_samples, tmp_path):
    path = tmp_path / "okvqa.safetensors"
    written = []
    for batch_size in (4, 4):
        make_features(tiny_engine, Questions(tiny_samples, "tiny", vqa_score), "okvqa", batch_size, "checksum", path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_gradient_reaches_the_token_as_through_the_model(tiny_engine, tiny_samples, prefix, budget_tokens):
    rows = [prepare(tiny_engine, tiny_samples[0], "high")]
    entries = stack_prompts(tiny_engine.backend.open_batch([rows], 0).memories(), torch.float32, "cpu")
    direction = torch.randn(1, tiny_engine.backend.model.config.d_model, generator=torch.Generator().manual_seed(2))
    gradients = []
    for through_features in (True, False):
        token = budget_tokens[:1].clone().requires_grad_()
        if through_features:
            state = prefix(token[None], *entries)[:, 0]
        else:
            state = tiny_engine.backend.model.run_prefix(
                prompt_of(tiny_engine, tiny_samples[0], "high"), budget_token=token
            ).budget_state
        (state * direction).sum().backward()
        gradients.append(token.grad)
    assert gradients[0].abs().max() > 0.1
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_answer_is_the_same_with_and_without_the_token(tiny_engine, tiny_samples, budget_tokens):
    """The prefix is computed once with the token, and the forward goes on as if it had never been there."""
    model, knobs = tiny_engine.backend.model, DecoderKnobs(2, (0, 1, 2, 4, 6))
    answers = set()
    for sample in tiny_samples:
        prompt = prompt_of(tiny_engine, sample, "high")
        logits, tokens = [], []
        for token in (None, budget_tokens[:1]):
            cache = model.new_cache(1, prompt.shape[1] + 6)
            state = model.run_prefix(prompt, cache=cache, budget_token=token)
            logits.append(model.run_adaptive(state, knobs))
            first = model.next_token_logits(state, knobs, cache).argmax(dim=-1)
            tokens.append(EagerDecoder(model, None).continue_greedily(first, state, knobs, cache, 6))
        torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
        assert tokens[0] == tokens[1]
        answers.add(tuple(tokens[0]))
    assert len(answers) > 2


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / "okvqa.safetensors"
    prompts = [PromptMemory(torch.ones(2, 2, length, 4), position=length + 1) for length in (3, 5)]
    save_features(path, info(2, 4, ("a", "b"), ("low",)), READINGS, prompts)
    return path


def test_unusable_files(small_file):
    prompts = [Features(small_file).prompt(sample, 0) for sample in (0, 1)]
    assert [(prompt.entries.shape[2], prompt.position) for prompt in prompts] == [(3, 4), (5, 6)]
    content = small_file.read_bytes()
    for broken in (content[:-10], content[:20], b"", content.replace(b"adamolmo", b"somebody")):
        small_file.write_bytes(broken)
        with pytest.raises(AdaMolmoError, match=r"okvqa.safetensors: cannot be read as tensors of this study"):
            Features(small_file)
    small_file.unlink()
    with pytest.raises(AdaMolmoError, match=r"okvqa.safetensors: cannot be read as tensors of this study"):
        Features(small_file)


def test_numbers_outside_float16_are_refused(small_file):
    belongs_to = Features(small_file).info.model_copy(update={"tiers": ("low", "high")})
    prompts = [PromptMemory(torch.full((2, 2, 3, 4), value).half(), 3) for value in (1.0, 1.0, 1.0, 1e6)]
    before = small_file.read_bytes()
    with pytest.raises(AdaMolmoError, match=r"sample 'b' at tier 'high' has keys or values outside .*float16"):
        save_features(small_file, belongs_to, READINGS, prompts)
    assert small_file.read_bytes() == before
