"""The model against golden arrays of the reference code, on a tiny random checkpoint in the released format."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.checkpoint import load_model
from adamolmo.model.decoding import EagerDecoder

# In the golden data only block 0 always runs and always keeps the model's own top_k.
FIXED_PREFIX_LAYERS = 1
INPUT_KEYS = ("input_ids", "attention_mask", "images", "image_masks", "image_input_idx")


@pytest.fixture(scope="module")
def directory(golden):
    return golden / "molmoe_tiny"


@pytest.fixture(scope="module")
def meta(directory):
    return json.loads((directory / "meta.json").read_text())


@pytest.fixture(scope="module")
def model(directory):
    return load_model(directory, FIXED_PREFIX_LAYERS)


@pytest.fixture(scope="module")
def load(directory):
    """Reads one npz file as a namespace of tensors."""

    def load_npz(name):
        with np.load(directory / f"{name}.npz") as arrays:
            return SimpleNamespace(**{key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays})

    return load_npz


@pytest.fixture(scope="module")
def close(meta):
    """Compares with the tolerance that the golden data recommends for this kind of array."""
    tolerances = meta["recommended_tolerances_fp32"]

    def assert_close(found, expected, kind):
        torch.testing.assert_close(found, expected, rtol=tolerances["rtol"], atol=tolerances[f"{kind}_atol"])

    return assert_close


@pytest.fixture(scope="module")
def example(load):
    return load("image_text")


def inputs(case):
    return [getattr(case, key) for key in INPUT_KEYS]


def knobs_of(mask, top_k):
    return DecoderKnobs(int(top_k), tuple(np.flatnonzero(np.asarray(mask)).tolist()))


def recorded_outputs(modules):
    """Hooks that collect each module's output; returns (list, function that removes the hooks)."""
    outputs = []
    hooks = [m.register_forward_hook(lambda _m, _i, out: outputs.append(out)) for m in modules]
    return outputs, lambda: [hook.remove() for hook in hooks]


@pytest.mark.parametrize("padding", ["", "left_"])
def test_text_with_padding_on_either_side(model, load, close, padding):
    case = vars(load("text_batch"))
    ids, mask = case[f"{padding}input_ids"], case[f"{padding}attention_mask"]
    assert (mask == 0).any()
    real = mask.bool()
    close(model(ids, mask)[real], case[f"{padding}logits"][real], "logits")


def test_image_and_text(model, example, close):
    blocks = model.transformer["blocks"]
    hidden, remove_hidden = recorded_outputs(blocks)
    router, remove_router = recorded_outputs([block.mlp.gate for block in blocks])
    logits = model(*inputs(example))
    remove_hidden(), remove_router()

    close(logits, example.logits, "logits")
    close(torch.stack(hidden), example.hidden_states[1:], "hidden")
    close(torch.stack(router), example.router_logits, "logits")
    close(model.embed(example.input_ids), example.token_embeddings, "hidden")
    close(model.transformer["ln_f"](hidden[-1]), example.final_norm, "hidden")


def test_vision_and_its_intermediates(model, example, load, close):
    expected = load("vision_intermediates")
    backbone = model.vision_backbone
    pool_inputs = []
    hook = backbone.image_pooling_2d.register_forward_hook(lambda _m, i, out: pool_inputs.append((*i, out)))
    pre_ln, remove = recorded_outputs([backbone.image_vit.pre_ln])
    features = backbone(example.images, example.image_masks)
    hook.remove(), remove()

    close(features, example.vision_features, "vision")
    close(features, expected.projected, "vision")
    close(pre_ln[0], expected.vit_pre_ln, "vision")
    outputs = backbone.image_vit(example.images.flatten(0, 1))
    close(torch.stack(outputs), expected.vit_block_outputs, "vision")
    concatenated = torch.cat([outputs[layer][:, 1:] for layer in backbone.feature_layers], dim=-1)
    close(concatenated[None], expected.vit_concat, "vision")
    query, windows, pooled = pool_inputs[0]
    close(query, expected.pool_query, "vision")
    close(windows, expected.pool_input, "vision")
    close(pooled, expected.pool_output, "vision")


def test_top_k(model, example, load, meta, close):
    expected = vars(load("topk"))
    for top_k in meta["topk_sweep"]:
        logits = model(*inputs(example), knobs=DecoderKnobs(top_k, model.full_knobs.blocks))
        close(logits, expected.pop(f"logits_topk{top_k}"), "logits")
    assert not expected


def test_skipped_blocks(model, example, load, meta, close):
    case = vars(load("block_mask"))
    assert set(meta["block_masks"]) == {key.removeprefix("mask_") for key in case if key.startswith("mask_")}
    for name, mask in meta["block_masks"].items():
        assert case[f"mask_{name}"].tolist() == [bool(runs) for runs in mask]
        knobs = knobs_of(mask, case.get(f"topk_{name}", meta["default_top_k"]))
        close(model(*inputs(example), knobs=knobs), case[f"logits_{name}"], "logits")


@pytest.mark.parametrize("name", ["full", "combo"])
@pytest.mark.parametrize("with_cache", [True, False])
def test_greedy_generation(model, example, load, close, name, with_cache):
    case = vars(load("generate"))
    tokens, knobs = case[f"tokens_{name}"], knobs_of(case[f"mask_{name}"], case[f"topk_{name}"])
    if with_cache:
        decoder = EagerDecoder(model, eos_id=None)
        cache = decoder.new_cache(example.input_ids.shape[1] + len(tokens))
        features = model.vision_backbone(example.images, example.image_masks)
        prompt = model.embed(example.input_ids, features, example.image_input_idx)
        prefix = model.run_prefix(prompt, example.attention_mask, cache)
        first = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
        assert decoder.continue_greedily(first, prefix, knobs, cache, len(tokens)) == tokens.tolist()
        return
    ids = torch.cat([example.input_ids, tokens[None, :-1]], dim=1)
    logits = model(ids, None, example.images, example.image_masks, example.image_input_idx, knobs)
    close(logits[0, -len(tokens) :], case[f"step_logits_{name}"], "logits")


def test_batch_of_images_with_different_crops(model, example, load, close):
    case = load("image_text_batch")
    logits = model(*inputs(case))
    real = case.attention_mask.bool()
    close(logits[real], case.logits[real], "logits")
    close(logits[0], example.logits[0], "logits")


def test_a_pixel_of_minus_one_does_not_make_a_crop_padding(model, example, load, close):
    case = load("minus_one_pixel")
    images = example.images.clone()
    images[0, case.crop].view(-1)[case.flat_indices] = -1.0
    close(model.vision_backbone(images, example.image_masks), case.vision_features, "vision")
    rest = (example.image_masks, example.image_input_idx)
    close(model(example.input_ids, example.attention_mask, images, *rest), case.logits, "logits")
