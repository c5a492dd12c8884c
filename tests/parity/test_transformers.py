"""The model against transformers' own modules on random weights: OLMoE for the decoder, CLIP for the vision tower."""

import dataclasses

import pytest
import torch
from olmoe_twin import olmoe_twin

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.config import MolmoEConfig, VisionConfig
from adamolmo.model.decoding import EagerDecoder
from adamolmo.model.molmoe import MolmoE

pytest.importorskip("transformers", reason="transformers is not installed (extra 'test')")

VISION = VisionConfig((56, 56), 14, 32, 4, 4, 8, 64, 17, 1e-5)
CONFIG = MolmoEConfig(VISION, 64, 6, 4, 8, 4, 32, 32, 128, 8, 10000.0, 1e-5, 256, (-1, -3), (2, 2), (0, 0), 3)


def random_model(config: MolmoEConfig = CONFIG) -> MolmoE:
    torch.manual_seed(3)
    model = MolmoE(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return model


def test_decoder_equals_olmoe_with_padding():
    model = random_model()
    ids = torch.randint(0, CONFIG.embedding_size, (3, 17))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = olmoe_twin(model)(ids, attention_mask=mask, position_ids=positions).logits
    real = mask.bool()
    torch.testing.assert_close(model(ids, mask)[real], expected[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("experts", ["eager", "grouped_mm", "batched_mm"])
@pytest.mark.parametrize("top_k", [2, 4, 8])
def test_decoder_equals_olmoe_at_every_top_k(top_k, experts):
    config = dataclasses.replace(CONFIG, top_k=top_k)
    model = random_model(config)
    ids = torch.randint(0, CONFIG.embedding_size, (2, 11))
    twin = olmoe_twin(model)
    twin.set_experts_implementation(experts)
    with torch.no_grad():
        expected = twin(ids).logits
    torch.testing.assert_close(model(ids), expected, rtol=1e-4, atol=1e-4)


def test_generation_equals_olmoe():
    model = random_model()
    ids = torch.randint(0, CONFIG.embedding_size, (1, 9))
    expected = olmoe_twin(model).generate(ids, max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0)
    decoder, knobs = EagerDecoder(model, eos_id=None), model.full_knobs
    cache = decoder.new_cache(20)
    prefix = model.run_prefix(model.embed(ids), None, cache)
    first = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
    assert decoder.continue_greedily(first, prefix, knobs, cache, 10) == expected[0, 9:].tolist()


def test_skipping_a_block_equals_a_model_without_it():
    model = random_model()
    ids = torch.randint(0, CONFIG.embedding_size, (1, 9))
    twin = olmoe_twin(model)
    del twin.model.layers[4]
    for index, layer in enumerate(twin.model.layers):
        layer.self_attn.layer_idx = index
    with torch.no_grad():
        expected = twin(ids, use_cache=False).logits
    torch.testing.assert_close(model(ids, knobs=DecoderKnobs(4, (0, 1, 2, 3, 5))), expected, rtol=1e-4, atol=1e-4)


def test_vision_tower_equals_clip():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    vit = random_model().vision_backbone.image_vit
    twin = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=VISION.width,
            intermediate_size=VISION.mlp_dim,
            num_hidden_layers=VISION.num_layers,
            num_attention_heads=VISION.num_heads,
            image_size=VISION.image_size[0],
            patch_size=VISION.patch_size,
            layer_norm_eps=VISION.norm_eps,
            hidden_act="quick_gelu",
        )
    ).eval()
    tower = getattr(twin, "vision_model", twin)
    _copy_vision_weights(vit, tower)
    images = torch.randn(2, 3, *VISION.image_size)
    with torch.no_grad():
        expected = twin(images, output_hidden_states=True).hidden_states[1:]
    patches = images.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 4, 5, 1).reshape(2, 16, -1)
    for found, theirs in zip(vit(patches), expected, strict=True):
        torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-4)


def _copy_vision_weights(vit, tower) -> None:
    own = dict(vit.state_dict())
    patch = own["patch_embedding.weight"].view(VISION.width, 14, 14, 3).permute(0, 3, 1, 2)
    state = {
        "embeddings.class_embedding": own["class_embedding"],
        "embeddings.position_embedding.weight": own["positional_embedding"],
        "embeddings.patch_embedding.weight": patch.contiguous(),
    }
    names = {"attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj"}
    names |= {"attention.wo": "self_attn.out_proj", "feed_forward.w1": "mlp.fc1", "feed_forward.w2": "mlp.fc2"}
    names |= {"attention_norm": "layer_norm1", "ffn_norm": "layer_norm2"}
    for kind in ("weight", "bias"):
        state[f"pre_layrnorm.{kind}"] = own[f"pre_ln.{kind}"]
        for layer in range(VISION.num_layers):
            for ours, theirs in names.items():
                value = own[f"transformer.resblocks.{layer}.{ours}.{kind}"]
                state[f"encoder.layers.{layer}.{theirs}.{kind}"] = value
    missing, unexpected = tower.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("post_layernorm" in name or "position_ids" in name for name in missing)
