"""Sizes of a MolmoE, read from the `config.json` of a released checkpoint or the `config.yaml` of a native one."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from adamolmo.errors import AdaMolmoError

# Newer public copies of the model spell some keys differently; the first name is the released one.
_OTHER_SPELLING = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "moe_num_experts": "num_experts",
    "moe_top_k": "num_experts_per_tok",
    "layer_norm_eps": "rms_norm_eps",
}


@dataclass(frozen=True)
class VisionConfig:
    """Vision tower: a CLIP ViT over crops of `image_size` pixels."""

    image_size: tuple[int, int]
    patch_size: int
    width: int
    num_layers: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    num_positions: int
    norm_eps: float

    @property
    def patch_grid(self) -> tuple[int, int]:
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


@dataclass(frozen=True)
class MolmoEConfig:
    """The whole model. `fixed_prefix_layers` blocks always run, with the model's own `top_k`."""

    vision: VisionConfig
    d_model: int
    num_layers: int
    num_heads: int
    num_experts: int
    top_k: int
    expert_dim: int
    embedding_size: int
    additional_vocab_size: int
    rope_theta: float
    norm_eps: float
    max_positions: int
    vit_layers: tuple[int, ...]
    pooling: tuple[int, int]
    overlap_margins: tuple[int, int]
    fixed_prefix_layers: int = 3

    @property
    def head_dim(self) -> int:
        return self.d_model // self.num_heads

    @property
    def tokens_per_crop(self) -> int:
        rows, columns = self.vision.patch_grid
        return (rows // self.pooling[0]) * (columns // self.pooling[1])

    @classmethod
    def load(cls, path: Path, fixed_prefix_layers: int = 3) -> "MolmoEConfig":
        """Reads a checkpoint's configuration file. Raises AdaMolmoError that names the missing or unusable key."""
        return cls.from_dict(read_config(path), str(path), fixed_prefix_layers)

    @classmethod
    def from_dict(cls, raw: dict, source: str, fixed_prefix_layers: int = 3) -> "MolmoEConfig":
        def get(key: str):
            for name in (key, _OTHER_SPELLING.get(key)):
                if name is not None and raw.get(name) is not None:
                    return raw[name]
            raise AdaMolmoError(f"{source}: key '{key}' is missing; expected the configuration of a MolmoE checkpoint.")

        if raw.get("n_kv_heads", raw.get("num_key_value_heads")) not in (None, get("n_heads")):
            raise AdaMolmoError(f"{source}: key 'n_kv_heads' differs from 'n_heads'; MolmoE has no grouped queries.")
        if not 0 <= fixed_prefix_layers < get("n_layers"):
            raise AdaMolmoError(
                f"fixed_prefix_layers is {fixed_prefix_layers}; {source} has {get('n_layers')} blocks, "
                "expected a number below that."
            )
        vision = get("vision_backbone")
        return cls(
            vision=VisionConfig(
                image_size=tuple(vision["image_default_input_size"]),
                patch_size=vision["image_patch_size"],
                width=vision["image_emb_dim"],
                num_layers=vision["image_num_layers"],
                num_heads=vision["image_num_heads"],
                head_dim=vision["image_head_dim"],
                mlp_dim=vision["image_mlp_dim"],
                num_positions=vision["image_num_pos"],
                norm_eps=vision["image_norm_eps"],
            ),
            d_model=get("d_model"),
            num_layers=get("n_layers"),
            num_heads=get("n_heads"),
            num_experts=get("moe_num_experts"),
            top_k=get("moe_top_k"),
            expert_dim=_expert_dim(raw, get("d_model")),
            embedding_size=raw.get("embedding_size") or get("vocab_size"),
            additional_vocab_size=get("additional_vocab_size"),
            rope_theta=get("rope_theta"),
            norm_eps=get("layer_norm_eps"),
            max_positions=raw.get("max_sequence_length") or get("max_position_embeddings"),
            vit_layers=tuple(get("vit_layers")),
            pooling=(get("image_pooling_h"), get("image_pooling_w")),
            overlap_margins=tuple(get("overlap_margins")),
            fixed_prefix_layers=fixed_prefix_layers,
        )


def config_file(directory: Path) -> Path:
    """`config.json`, or the `config.yaml` of the native olmo format when there is no other."""
    native = Path(directory) / "config.yaml"
    released = native.with_suffix(".json")
    return native if native.is_file() and not released.is_file() else released


def read_config(path: Path) -> dict:
    """Keys and values of a configuration file; of a native one its section `model`, which has the same keys.

    Raises AdaMolmoError that names the file.
    """
    try:
        text = Path(path).read_text()
        return dict(yaml.safe_load(text)["model"] if Path(path).suffix == ".yaml" else json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as the model's configuration ({error!r}).") from error


def _expert_dim(raw: dict, d_model: int) -> int:
    """`mlp_hidden_size` (or `mlp_ratio` x d_model) counts the gate and up halves together, as in OLMo's SwiGLU."""
    if raw.get("intermediate_size"):
        return raw["intermediate_size"]
    return (raw.get("mlp_hidden_size") or raw["mlp_ratio"] * d_model) // 2
