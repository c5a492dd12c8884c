"""One tiny random checkpoint per family of transformers, as a directory like those that are released.

Sizes and seeds are arguments: a study of what the backend does can use sizes that no test has seen. By hand:

    python tests/backends/tiny_families.py DIRECTORY [FAMILY ...]
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from adamolmo.transformers_backend.families import FAMILIES
from adamolmo.transformers_backend.library import transformers

WORDS = tuple("what number is on the red sign ? how many objects are there Answer yes no a b c d 0 1 2 3 4 5".split())

# Standard deviations of the weights, of matrices by the root of their width: layers say more than the last word does,
# so that answers differ between questions, images and knobs.
EMBEDDING, GAIN, BIAS = 0.5, 1.5, 0.2


@dataclass(frozen=True)
class TinySizes:
    """Attributes:
    dense_layers: first layers without experts, where the family has such.
    """

    hidden: int = 64
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    experts: int = 8
    top_k: int = 4
    expert_width: int = 32
    dense_layers: int = 1
    vision_layers: int = 3
    seed: int = 0


@dataclass(frozen=True)
class TinyFamily:
    """Attributes:
    top_k_key: of the text configuration.
    tiers: arguments of the image processor, cheapest first.
    """

    name: str
    tokens: tuple[str, ...]
    configure: Callable[[TinySizes, Mapping[str, int]], Any]
    image_settings: Mapping[str, Any]
    top_k_key: str
    tiers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _text(sizes: TinySizes, ids: Mapping[str, int]) -> dict:
    return {
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "vocab_size": len(ids),
        "max_position_embeddings": 2048,
        "pad_token_id": ids["<pad>"],
        "eos_token_id": ids["<eos>"],
        "bos_token_id": ids["<bos>"],
    }


def _rope(sections: list[int], **more: Any) -> dict:
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections, **more}


def _qwen3_vl_moe(sizes: TinySizes, ids: Mapping[str, int]) -> Any:
    text = {
        "intermediate_size": 96,
        "head_dim": 16,
        "num_experts": sizes.experts,
        "num_experts_per_tok": sizes.top_k,
        "moe_intermediate_size": sizes.expert_width,
        "rope_parameters": _rope([4, 2, 2], mrope_interleaved=True),
    }
    vision = {
        "depth": max(sizes.vision_layers, 3),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 16,
        "out_hidden_size": sizes.hidden,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1, 2],
    }
    return transformers.Qwen3VLMoeConfig(
        text_config=_text(sizes, ids) | text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def _glm4v_moe(sizes: TinySizes, ids: Mapping[str, int]) -> Any:
    text = {
        "intermediate_size": 96,
        "head_dim": 16,
        "n_routed_experts": sizes.experts,
        "num_experts_per_tok": sizes.top_k,
        "moe_intermediate_size": sizes.expert_width,
        "n_shared_experts": 1,
        "first_k_dense_replace": sizes.dense_layers,
        "rope_parameters": _rope([2, 1, 1], partial_rotary_factor=0.5),
    }
    vision = {
        "depth": sizes.vision_layers,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
        "image_size": 112,
        "out_hidden_size": sizes.hidden,
    }
    return transformers.Glm4vMoeConfig(
        text_config=_text(sizes, ids) | text,
        vision_config=vision,
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
    )


def _aria(sizes: TinySizes, ids: Mapping[str, int]) -> Any:
    text = {
        "intermediate_size": sizes.expert_width,
        "moe_num_experts": sizes.experts,
        "moe_topk": sizes.top_k,
        "moe_num_shared_experts": 1,
    }
    vision = {
        "model_type": "idefics3_vision",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": 2,
        "image_size": 980,
        "patch_size": 70,
    }
    return transformers.AriaConfig(
        text_config=_text(sizes, ids) | text,
        vision_config=vision,
        image_token_index=ids["<|img|>"],
        vision_feature_layer=-2,
        projector_patch_to_query_dict={49: 8, 196: 16},
    )


def _ernie4_5_vl_moe(sizes: TinySizes, ids: Mapping[str, int]) -> Any:
    text = {
        "intermediate_size": 96,
        "moe_num_experts": sizes.experts,
        "moe_k": sizes.top_k,
        "moe_intermediate_size": [sizes.expert_width, sizes.expert_width // 2],
        "moe_num_shared_experts": 1,
        "mlp_layer_types": ["dense"] * sizes.dense_layers + ["sparse"] * (sizes.layers - sizes.dense_layers),
        "rope_parameters": _rope([3, 3, 2]),
    }
    vision = {
        "depth": sizes.vision_layers,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
    }
    return transformers.Ernie4_5_VLMoeConfig(
        text_config=_text(sizes, ids) | text,
        vision_config=vision,
        image_token_id=ids["<|IMAGE_PLACEHOLDER|>"],
        image_start_token_id=ids["<|IMAGE_START|>"],
        image_end_token_id=ids["<|IMAGE_END|>"],
        video_token_id=ids["<|VIDEO_PLACEHOLDER|>"],
        video_start_token_id=ids["<|VIDEO_START|>"],
        video_end_token_id=ids["<|VIDEO_END|>"],
    )


def _deepseek_ocr2(sizes: TinySizes, ids: Mapping[str, int]) -> Any:
    text = {
        "intermediate_size": 96,
        "num_key_value_heads": sizes.heads,
        "n_routed_experts": sizes.experts,
        "num_experts_per_tok": sizes.top_k,
        "moe_intermediate_size": sizes.expert_width,
        "n_shared_experts": 1,
        "mlp_layer_types": ["dense"] * sizes.dense_layers + ["sparse"] * (sizes.layers - sizes.dense_layers),
    }
    sam = {
        "hidden_size": 16,
        "output_channels": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "window_size": 8,
        "global_attn_indexes": [1],
        "downsample_channels": [8, 32],
    }
    encoder = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 8,
    }
    return transformers.DeepseekOcr2Config(
        text_config=_text(sizes, ids) | text,
        vision_config={"sam_config": sam, "encoder_config": encoder},
        image_token_id=ids["<image>"],
    )


def _scaled_tiers(pixels: int) -> dict:
    """Of `pixels` per image token."""
    tokens = {"low": (4, 16), "medium": (16, 36), "high": (36, 64)}
    return {
        tier: {"size": {"shortest_edge": least * pixels, "longest_edge": most * pixels}}
        for tier, (least, most) in tokens.items()
    }


TINY_FAMILIES = {
    family.name: family
    for family in (
        TinyFamily(
            "qwen3_vl_moe",
            ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"),
            _qwen3_vl_moe,
            {"patch_size": 16},
            "num_experts_per_tok",
            _scaled_tiers(32 * 32),
        ),
        TinyFamily(
            "glm4v_moe",
            (
                *("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<think>", "</think>", "<|begin_of_image|>"),
                *("<|image|>", "<|end_of_image|>", "<|video|>", "<|begin_of_video|>", "<|end_of_video|>"),
            ),
            _glm4v_moe,
            {},
            "num_experts_per_tok",
            _scaled_tiers(2 * 28 * 28),
        ),
        TinyFamily(
            "aria",
            ("<|im_start|>", "<|im_end|>", "<fim_prefix>", "<fim_suffix>", "<|img|>"),
            _aria,
            {},
            "moe_topk",
            {
                "low": {"max_image_size": 490},
                "medium": {"max_image_size": 980},
                "high": {"max_image_size": 490, "split_image": True},
            },
        ),
        TinyFamily(
            "ernie4_5_vl_moe",
            (
                *("<|begin_of_sentence|>", "<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>"),
                *("<|VIDEO_START|>", "<|VIDEO_PLACEHOLDER|>", "<|VIDEO_END|>"),
            ),
            _ernie4_5_vl_moe,
            {},
            "moe_k",
            _scaled_tiers(28 * 28),
        ),
        TinyFamily(
            "deepseek_ocr2",
            ("<｜begin▁of▁sentence｜>", "<image>"),
            _deepseek_ocr2,
            {},
            "num_experts_per_tok",
            {
                "low": {"crop_to_patches": False},
                "medium": {"min_patches": 2, "max_patches": 3},
                "high": {"min_patches": 2, "max_patches": 6},
            },
        ),
    )
}


def token_ids(tiny: TinyFamily) -> dict[str, int]:
    return {token: i for i, token in enumerate(["<unk>", "<pad>", "<bos>", "<eos>", "<stop>", *tiny.tokens, *WORDS])}


def build_model(name: str, sizes: TinySizes = TinySizes(), **text_changes: Any) -> Any:  # noqa: B008 (frozen)
    """The family's own model with random weights whose routers differ enough for top_k to matter.

    Args:
        text_changes: of the text configuration, for example another top_k.
    """
    tiny = TINY_FAMILIES[name]
    ids = token_ids(tiny)
    config = tiny.configure(sizes, ids)
    for key, value in text_changes.items():
        setattr(config.get_text_config(), key, value)
    torch.manual_seed(sizes.seed)
    model = getattr(transformers, FAMILIES[name].model_class)(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(sizes.seed + 1)
    for key, weight in model.named_parameters():
        if "norm" in key:
            continue
        scale = BIAS if weight.ndim < 2 else EMBEDDING if "embed_tokens" in key else GAIN / weight.shape[-1] ** 0.5
        weight.copy_(scale * torch.randn(weight.shape, generator=generator))
    model.get_output_embeddings().weight[[ids[token] for token in tiny.tokens]] = 0  # nobody says an image's token
    for key, bias in model.named_buffers():
        if "e_score_correction_bias" in key:
            bias.copy_(0.1 * torch.randn(bias.shape, generator=generator))
    return model


def build_checkpoint(name: str, directory: Path, sizes: TinySizes = TinySizes()) -> Path:  # noqa: B008 (frozen)
    """Writes config.json, model.safetensors, tokenizer.json, preprocessor_config.json and what belongs to them."""
    tiny = TINY_FAMILIES[name]
    model = build_model(name, sizes)
    ids = token_ids(tiny)
    model.generation_config.eos_token_id = [ids["<eos>"], ids["<stop>"]]
    model.save_pretrained(directory)
    vocabulary = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ["<unk>", "<pad>", "<bos>", "<eos>", "<stop>", *tiny.tokens]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=vocabulary,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=special[4:],
    )
    tokenizer.save_pretrained(directory)
    getattr(transformers, FAMILIES[name].image_processor)(**tiny.image_settings).save_pretrained(directory)
    return directory


if __name__ == "__main__":
    target, *names = sys.argv[1:]
    overrides = {key: int(value) for key, _, value in (name.partition("=") for name in names if "=" in name)}
    assert overrides.keys() <= {entry.name for entry in fields(TinySizes)}, sorted(overrides)
    for family in [name for name in names if "=" not in name] or TINY_FAMILIES:
        built = build_checkpoint(family, Path(target) / family, TinySizes(**overrides))
        print(built, json.dumps(TINY_FAMILIES[family].tiers))
