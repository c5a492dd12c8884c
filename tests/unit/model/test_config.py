"""What `config.json` may say: typed, bounded and consistent, or one sentence about a key."""

import json
import re
import time
from dataclasses import replace

import pytest
import yaml
from hub_cache import released_config

from adamolmo.errors import AdaMolmoError
from adamolmo.model.config import MolmoEConfig, read_config

VISION = "vision_backbone"


@pytest.fixture
def released(tiny_config) -> dict:
    return released_config(tiny_config)


def with_vision(raw: dict, **changes) -> dict:
    return raw | {VISION: raw[VISION] | changes}


def test_the_released_keys_say_the_whole_configuration(released, tiny_config):
    assert MolmoEConfig.from_dict(released, "config.json") == tiny_config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"d_model": "16"}, "key 'd_model' is \"16\"; expected a valid integer"),
        ({"d_model": 15}, "d_model is 15; 2 heads (n_heads) of an even width must divide it"),
        ({"d_model": 6, "n_heads": 2}, "d_model is 6; 2 heads"),
        ({"n_layers": 10**9}, "key 'n_layers' is 1000000000; expected at most 1024"),
        ({"n_layers": 0}, "key 'n_layers' is 0; expected at least 1"),
        (
            {"n_layers": 1024, "moe_num_experts": 1024},
            "n_layers is 1024 and moe_num_experts 1024; expected at most 65536 experts",
        ),
        ({"n_heads": -2}, "key 'n_heads' is -2; expected at least 1"),
        ({"n_heads": 2.0}, "key 'n_heads' is 2.0; expected a valid integer"),
        ({"n_kv_heads": 1}, "n_kv_heads differs from n_heads; MolmoE has no grouped queries"),
        ({"head_dim": 4}, "head_dim is 4; expected d_model / n_heads, which is 8"),
        ({"moe_top_k": 9}, "moe_top_k is 9; expected at most moe_num_experts, which is 8"),
        ({"moe_top_k": True}, "key 'moe_top_k' is true; expected a valid integer"),
        ({"mlp_hidden_size": None, "intermediate_size": None}, "mlp_hidden_size is None and mlp_ratio None; expected"),
        ({"mlp_hidden_size": 33, "intermediate_size": None}, "mlp_hidden_size is 33 and mlp_ratio None; expected"),
        ({"vocab_size": 25}, "vocab_size is 25; expected at most embedding_size, which is 24"),
        ({"additional_vocab_size": None}, "key 'additional_vocab_size' is missing; expected rows behind the embedding"),
        ({"rope_theta": float("nan")}, "key 'rope_theta' is NaN; expected a finite number"),
        ({"layer_norm_eps": 0}, "key 'layer_norm_eps' is 0; expected greater than 0"),
        ({"max_sequence_length": 1 << 40}, "key 'max_sequence_length' is 1099511627776; expected at most"),
        ({"vit_layers": [0, 2]}, "vit_layers is [0, 2]; the tower has 2 blocks, expected -2 to 1"),
        ({"vit_layers": []}, "key 'vit_layers' is []"),
        ({"overlap_margins": []}, "key 'overlap_margins[0]' is missing"),
        ({"image_pooling_h": 4}, "image_pooling_h is 4 and image_pooling_w 2; crops have 6 x 6 patches"),
        ({"weight_tying": True}, "key 'weight_tying' is true; expected False"),
        ({"activation_type": "gelu"}, "key 'activation_type' is \"gelu\"; expected 'swiglu'"),
        ({"clip_qkv": 8.0}, "key 'clip_qkv' is 8.0; expected None"),
        ({VISION: 3}, "key 'vision_backbone' is 3; expected"),
    ],
)
def test_what_cannot_be_right_is_one_sentence(released, changes, sentence):
    with pytest.raises(AdaMolmoError, match=re.escape(f"config.json: {sentence}")):
        MolmoEConfig.from_dict(released | changes, "config.json")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_num_heads": 3}, "image_num_heads * image_head_dim is 24; expected image_emb_dim, which is 16"),
        ({"image_num_key_value_heads": 1}, "image_num_key_value_heads differs from image_num_heads"),
        ({"image_patch_size": 5}, "image_patch_size is 5; expected one that divides the crop's sides"),
        ({"image_num_pos": 36}, "image_num_pos is 36; expected one more than the 6 x 6 patches"),
        ({"image_num_layers": 1 << 30}, "key 'vision_backbone.image_num_layers' is 1073741824; expected at most 1024"),
        ({"image_default_input_size": [24]}, "key 'vision_backbone.image_default_input_size[1]' is missing"),
        ({"image_norm_eps": None}, "key 'vision_backbone.image_norm_eps' is missing"),
    ],
)
def test_a_tower_that_cannot_be_right_is_one_sentence(released, changes, sentence):
    with pytest.raises(AdaMolmoError, match=re.escape(sentence)):
        MolmoEConfig.from_dict(with_vision(released, **changes), "config.json")


@pytest.mark.parametrize("odd", [0, -1, 1 << 40, 10**400, 1.5, "x", None, [], {}, float("inf")])
def test_no_value_of_any_key_is_a_traceback_or_takes_long(released, odd):
    start = time.process_time()
    keys = [(released | {key: odd}) for key in released] + [with_vision(released, **{k: odd}) for k in released[VISION]]
    for raw in keys:
        try:
            MolmoEConfig.from_dict(raw, "config.json")
        except AdaMolmoError as error:
            sentence = str(error)
            assert sentence.startswith("config.json: ") and "\n" not in sentence, sentence  # noqa: PT017
    assert time.process_time() - start < 5  # seconds of its own work, not of the clock


@pytest.mark.parametrize(
    ("keys", "expert_dim", "projector_dim"),
    [
        ({"mlp_hidden_size": 20, "intermediate_size": None}, 10, 10),
        ({"mlp_hidden_size": None, "intermediate_size": None, "mlp_ratio": 4}, 32, 32),  # d_model is 16
        ({"mlp_hidden_size": 20, "intermediate_size": 12}, 12, 10),
        ({"mlp_hidden_size": None, "intermediate_size": 12}, 12, 12),
    ],
)
def test_widths_of_experts_and_projector(released, keys, expert_dim, projector_dim):
    config = MolmoEConfig.from_dict(released | keys, "config.json")
    assert (config.expert_dim, config.projector_dim) == (expert_dim, projector_dim)


def test_a_native_configuration_has_the_same_keys_and_no_aliases(released, tiny_config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"model": released}))
    assert MolmoEConfig.load(path) == tiny_config
    path.write_text("a: &a [x, x]\nmodel: {b: [*a, *a]}\n")
    with pytest.raises(AdaMolmoError, match=r"config.yaml: cannot be read .*it has an alias"):
        read_config(path)


@pytest.mark.parametrize("content", [b"[1]", b"\xff\xfe{}", b"[" * 100_000, b" " * 2_000_000, b"3", b'{"a": 1'])
def test_files_that_are_no_configuration(content, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(AdaMolmoError, match=r"config.json: cannot be read as the model's configuration"):
        MolmoEConfig.load(path)


def test_the_fixed_prefix_lies_below_the_last_block(released, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(released))
    with pytest.raises(AdaMolmoError, match="fixed_prefix_layers is 7; .* has 7 blocks"):
        MolmoEConfig.load(tmp_path / "config.json", fixed_prefix_layers=7)
    assert MolmoEConfig.load(tmp_path / "config.json", 2).fixed_prefix_layers == 2
    assert replace(MolmoEConfig.load(tmp_path / "config.json", 2), fixed_prefix_layers=3).num_layers == 7
