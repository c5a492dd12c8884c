"""Ways in which a model of transformers gives other answers without a word: one test for each that was met."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

import numpy as np
import torch
from asking import engine_of, samples_of
from PIL import Image
from requests_of import QUESTIONS, all_logits, answer, begin, decode, prompt_of, words
from safetensors.torch import load_file, save_file
from stock import stock_inputs
from tiny_families import TINY_FAMILIES

from adamolmo.data.samples import Questions
from adamolmo.data.scoring import SCORERS
from adamolmo.errors import AdaMolmoError
from adamolmo.importance.inner_scores import internal_scores
from adamolmo.knobs import DecoderKnobs
from adamolmo.transformers_backend.loading import load

GRIDS = ("qwen3_vl_moe", "glm4v_moe", "ernie4_5_vl_moe")


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_the_cache_knows_its_length_though_its_first_layer_was_skipped(name, loaded, pictures):
    """transformers asks one layer. Here even layer 0 is left out, as the first full one may be in hybrid families."""
    backend = loaded(name)
    prompt = prompt_of(backend, pictures[0])
    decoder, cache = backend.decoder, backend.decoder.new_cache()
    seen, _ = backend.see(prompt)
    prompts = decoder.run_prefix(prompt.input_ids, None, [prompt.image], seen, cache)
    cache.forget(0)
    assert cache.get_seq_length() == prompt.num_tokens
    assert cache.get_mask_sizes(1, 0) == (prompt.num_tokens + 1, 0)
    token, blocks = decoder.embed(torch.tensor(words(backend, "red"))), (1, 2)
    state = decoder.run_token(token, prompts.next_position, cache.fork(), blocks=blocks)
    real = torch.ones(1, prompt.num_tokens + 1, dtype=torch.long)  # the same said by a mask of its own
    want = decoder.run_token(token, prompts.next_position, cache.fork(), blocks=blocks, real=real)
    torch.testing.assert_close(state, want, rtol=0, atol=2e-5)


def test_a_branch_of_the_cache_is_its_own(loaded, pictures):
    backend = loaded("aria")
    request = begin(backend, prompt_of(backend, pictures[0]))
    branch, knobs = request.cache.fork(), backend.sizes.full_knobs
    before = [layer.keys.clone() for layer in request.cache.layers[:3]]
    decode(backend, type(request)(request.prompt, request.prefix, branch), knobs, words(backend))
    assert request.cache.seen == request.prompt.num_tokens < branch.seen
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(request.cache.layers, before, strict=False))


def test_a_prefix_shorter_than_deepstack_is_refused(checkpoint):
    """The model's loop adds the image's features behind its first three layers, wherever the prefix ends."""
    tiers = TINY_FAMILIES["qwen3_vl_moe"].tiers
    with pytest.raises(AdaMolmoError, match=r"^fixed_prefix_layers is 2; qwen3_vl_moe takes 3 to \d+\.$"):
        load(checkpoint("qwen3_vl_moe"), tiers=tiers, fixed_prefix_layers=2)
    for name in TINY_FAMILIES.keys() - {"qwen3_vl_moe"}:
        with pytest.raises(AdaMolmoError, match=rf"^fixed_prefix_layers is 0; {name} takes 1 to \d+\.$"):
            load(checkpoint(name), tiers=TINY_FAMILIES[name].tiers, fixed_prefix_layers=0)


@pytest.mark.parametrize("prefix", [1, 2])
@pytest.mark.parametrize("name", ["glm4v_moe", "aria", "ernie4_5_vl_moe", "deepseek_ocr2"])
def test_a_prefix_of_any_length_is_the_stock_model(name, prefix, checkpoint, pictures):
    tiers = TINY_FAMILIES[name].tiers
    backend = load(checkpoint(name), tiers=tiers, fixed_prefix_layers=prefix)
    prompt = prompt_of(backend, pictures[0])
    stock = backend.decoder.model(**stock_inputs(backend, prompt)).logits
    assert torch.equal(all_logits(backend, begin(backend, prompt), backend.sizes.full_knobs), stock)


@pytest.mark.parametrize("name", GRIDS)
def test_positions_are_not_those_that_another_prompt_left_in_the_module(name, loaded, pictures):
    backend, knobs = loaded(name), DecoderKnobs(2, (0, 1, 2, 4))
    prompt, other = prompt_of(backend, pictures[0]), prompt_of(backend, pictures[2], QUESTIONS[2], backend.tiers[2])
    want = decode(backend, begin(backend, prompt), knobs, words(backend))
    request = begin(backend, prompt)
    backend.decoder.model(**stock_inputs(backend, other))
    left = backend.decoder.model.model.rope_deltas
    assert left is not None and left.item() != request.prefix.prompts.next_position.item() - prompt.num_tokens
    assert torch.equal(decode(backend, request, knobs, words(backend)), want)


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_padding_is_not_counted_in_positions(name, loaded, pictures):
    backend = loaded(name)
    prompts = [prompt_of(backend, pictures[0], question) for question in QUESTIONS]
    batch = backend.open_batch([[prompt] for prompt in prompts], 4)
    assert len({prompt.num_tokens for prompt in prompts}) > 1
    positions = [memory.position for memory in batch.memories()]
    alone = [begin(backend, prompt).prefix.prompts.next_position.item() for prompt in prompts]
    assert positions == alone
    if not backend.decoder.family.grid_positions:
        assert positions == [prompt.num_tokens for prompt in prompts]


def test_sizes_follow_the_tiers_arguments_and_not_the_processors_own(loaded):
    """Methods of the library that say how many tokens an image becomes read other arguments than its processor."""
    image = Image.new("RGB", (640, 480))
    for name in TINY_FAMILIES:
        backend = loaded(name)
        question = backend.read_question(QUESTIONS[0], None)
        sizes = [backend.prompt_size(image, question, tier) for tier in backend.tiers]
        assert sizes == [
            (prompt.num_crops, prompt.num_tokens)
            for tier in backend.tiers
            for prompt in backend.prepare(image, [question], tier, 2048)
        ]
        assert sizes[0] < sizes[1]


def test_deepseeks_tile_is_not_its_whole_image(loaded):
    """An image between the two sides is cut in tiles, by the smaller one; a small image is not."""
    backend = loaded("deepseek_ocr2")
    small, between = (backend.pictures.size(side, side // 2, "high").tokens for side in (700, 900))
    assert small == 257 and between == 257 + 2 * 144
    assert backend.pictures.size(900, 450, "low").tokens == 145


def test_every_weight_comes_from_the_checkpoint(checkpoint, tmp_path):
    """The library fills what is missing with random numbers."""
    source = checkpoint("aria")
    weights = load_file(source / "model.safetensors")
    name = next(key for key in weights if "layers.4.mlp" in key and "router" in key)

    def changed(label, tensors):
        directory = tmp_path / label
        shutil.copytree(source, directory)
        save_file(tensors, directory / "model.safetensors", {"format": "pt"})
        return lambda: load(directory, tiers=TINY_FAMILIES["aria"].tiers, fixed_prefix_layers=3)

    for label, tensors, sentence in (
        ("missing", {key: t for key, t in weights.items() if key != name}, r"1 tensors are missing \(.*router"),
        ("surplus", weights | {"model.surplus": torch.ones(2)}, r"1 tensors are unexpected \(model.surplus\)"),
        ("shape", weights | {name: weights[name][:4].clone()}, r"1 tensors are of another shape \(.*router"),
    ):
        with pytest.raises(AdaMolmoError, match=sentence):
            changed(label, tensors)()


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_experts_are_computed_in_the_grouped_way_that_some_vision_towers_refuse(name, loaded):
    """Asked for when loading, it makes Aria's vision tower fail; not asked for, it may be another one."""
    model = loaded(name).decoder.model
    assert model.config.get_text_config()._experts_implementation == "grouped_mm"


def test_what_ends_an_answer_is_the_generation_configuration_before_the_model_s(checkpoint, tmp_path):
    source, tiers = checkpoint("aria"), TINY_FAMILIES["aria"].tiers
    directory = tmp_path / "aria"
    shutil.copytree(source, directory)
    both = load(directory, tiers=tiers, fixed_prefix_layers=3).end_ids
    (directory / "generation_config.json").unlink()
    one = load(directory, tiers=tiers, fixed_prefix_layers=3).end_ids
    assert len(both) == 2 and len(one) == 1 and one < both
    config = json.loads((directory / "config.json").read_text())
    config["text_config"]["eos_token_id"] = None
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdaMolmoError, match="has an eos_token_id"):
        load(directory, tiers=tiers, fixed_prefix_layers=3)


def test_a_chat_template_is_the_prompt(checkpoint, tmp_path):
    source, tiers = checkpoint("qwen3_vl_moe"), TINY_FAMILIES["qwen3_vl_moe"].tiers
    directory = tmp_path / "qwen"
    shutil.copytree(source, directory)
    template = (
        "{% for item in messages[0].content %}{% if item.type == 'image' %}<|image_pad|>{% else %} {{ item.text }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt and not enable_thinking %} Answer{% endif %}"
    )
    (directory / "chat_template.jinja").write_text(template)
    backend = load(directory, tiers=tiers, fixed_prefix_layers=3)
    assert backend.texts.prompt == "<|image_pad|> {question} Answer"
    (directory / "chat_template.jinja").write_text("no picture, no question")
    with pytest.raises(AdaMolmoError, match="'no picture, no question'.*the question once"):
        load(directory, tiers=tiers, fixed_prefix_layers=3)


def test_a_question_with_the_images_token_is_refused(loaded):
    with pytest.raises(AdaMolmoError, match="has the text <|img|>"):
        loaded("aria").read_question("what is <|img|> ?", None)


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_half_precision_gives_half_precision(name, checkpoint, pictures):
    """The library would load the dtype that a checkpoint names."""
    backend = load(checkpoint(name), tiers=TINY_FAMILIES[name].tiers, fixed_prefix_layers=3, dtype=torch.bfloat16)
    prompt = prompt_of(backend, pictures[0])
    assert backend.dtype == torch.bfloat16 and backend.costs.element_bytes == 2
    request = begin(backend, prompt, torch.randn(1, backend.sizes.d_model))
    assert request.prefix.budget_state.dtype == torch.bfloat16
    assert len(answer(backend, request, backend.sizes.full_knobs, 3)) <= 3


def test_the_library_is_offline():
    """In a process that has not imported it yet, as every job is."""
    offline = (
        "from adamolmo.transformers_backend.library import transformers as t; print(t.utils.hub.is_offline_mode())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    told = subprocess.run([sys.executable, "-c", offline], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"


def test_no_code_of_a_checkpoint_is_run(checkpoint, tmp_path):
    directory = tmp_path / "aria"
    shutil.copytree(checkpoint("aria"), directory)
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    load(directory, tiers=TINY_FAMILIES["aria"].tiers, fixed_prefix_layers=3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_attentions_entropy_counts_heads_that_share_keys_and_the_models_own_scale(name, loaded, pictures):
    """Without padding the library passes each shared key once, with padding once per head."""
    backend = loaded(name)
    engine, samples = engine_of(backend), samples_of(pictures)[:2]
    questions = Questions(samples, None, SCORERS["vqa"])
    backend.decoder.model.set_attn_implementation("eager")  # which returns its weights
    try:
        want = [_entropies(backend, sample) for sample in samples]
    finally:
        backend.decoder.model.set_attn_implementation("sdpa")
    with torch.inference_mode(False):
        for batch_size in (8, 64):  # a row alone, and both, padded
            got = internal_scores(engine, questions, backend.tiers[0], batch_size)["attention_entropy"]
            np.testing.assert_allclose(got, want, atol=1e-5)


def _entropies(backend, sample) -> list[float]:
    """1 - entropy / log(visible keys) of every block behind the prefix, by the weights that its attention says."""
    weights = []
    layers = backend.decoder.layers.text.layers[3:]
    hooks = [layer.self_attn.register_forward_hook(lambda _, __, out: weights.append(out[1][0])) for layer in layers]
    prompt = prompt_of(backend, sample.open_image(), sample.question)
    prompt = backend.with_answer(prompt, backend.answer_ids("yes")[:-1])
    all_logits(backend, begin(backend, prompt), backend.sizes.full_knobs)
    for hook in hooks:
        hook.remove()
    visible = torch.arange(2, prompt.num_tokens + 1).log()
    return [
        1 - (torch.special.entr(of_layer[:, 1:]).sum(dim=-1).mean(dim=0) / visible).mean().item()
        for of_layer in weights
    ]
