"""Sizes of a MolmoE, read from the `config.json` of a released checkpoint or the `config.yaml` of a native one.

What is read is typed, bounded and checked against itself, so that a configuration that cannot be right is one sentence
about a key before anything is allocated. Keys that name another computation than this implementation's are refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from adamolmo.errors import AdaMolmoError
from adamolmo.faults import sentence

_MOST_BYTES = 1 << 20  # of a configuration file
# Far above every model there is, and so low that what follows from it neither hangs nor overflows.
_Count = Annotated[int, Field(ge=1, le=1024)]
_Width = Annotated[int, Field(ge=1, le=1 << 18)]
_Rows = Annotated[int, Field(ge=1, le=1 << 24)]
_Positions = Annotated[int, Field(ge=1, le=1 << 20)]
_Pixels = Annotated[int, Field(ge=1, le=1 << 14)]
_Margin = Annotated[int, Field(ge=0, le=1 << 10)]
_Epsilon = Annotated[float, Field(gt=0, le=0.1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_null(cls, raw: object) -> object:
        """A key that is null is as good as missing."""
        return {key: value for key, value in raw.items() if value is not None} if isinstance(raw, Mapping) else raw


def _spelled(released: str, newer: str, meaning: str) -> Field:
    """A key that newer public copies of the model spell differently."""
    return Field(validation_alias=AliasChoices(released, newer), description=meaning)


class _VisionKeys(_Section):
    """The keys of the vision tower."""

    image_default_input_size: Annotated[tuple[_Pixels, _Pixels], Field(strict=False)] = Field(
        description="height and width of a crop in pixels"
    )
    image_patch_size: _Pixels = Field(description="pixels of a patch's side")
    image_emb_dim: _Width = Field(description="width of the tower")
    image_num_layers: _Count = Field(description="blocks of the tower")
    image_num_heads: _Count = Field(description="attention heads")
    image_head_dim: _Width = Field(description="width of a head")
    image_mlp_dim: _Width = Field(description="hidden width of the tower's MLPs")
    image_num_pos: _Rows = Field(description="positions: the patches of a crop and the class token")
    image_norm_eps: _Epsilon = Field(description="epsilon of the tower's norms")
    image_num_key_value_heads: _Count | None = Field(None, description="as image_num_heads")
    image_model_type: Literal["openai"] = Field("openai", description="kind of the tower")
    image_mlp_activations: Literal["quick_gelu"] = Field("quick_gelu", description="activation of the tower")

    @model_validator(mode="after")
    def _check(self) -> Self:
        heads, width = self.image_num_heads * self.image_head_dim, self.image_emb_dim
        rows, columns = (side // self.image_patch_size for side in self.image_default_input_size)
        _must(heads == width, f"image_num_heads * image_head_dim is {heads}; expected image_emb_dim, which is {width}")
        _must(
            self.image_num_key_value_heads in (None, self.image_num_heads),
            "image_num_key_value_heads differs from image_num_heads; MolmoE has no grouped queries",
        )
        _must(
            (rows * self.image_patch_size, columns * self.image_patch_size) == self.image_default_input_size,
            f"image_patch_size is {self.image_patch_size}; expected one that divides the crop's sides",
        )
        _must(
            self.image_num_pos == rows * columns + 1,
            f"image_num_pos is {self.image_num_pos}; expected one more than the {rows} x {columns} patches",
        )
        return self


class _Keys(_Section):
    """The keys of a configuration file that say how large the model is, or what it computes."""

    d_model: _Width = _spelled("d_model", "hidden_size", "width of the decoder")
    n_layers: _Count = _spelled("n_layers", "num_hidden_layers", "transformer blocks")
    n_heads: _Count = _spelled("n_heads", "num_attention_heads", "attention heads")
    n_kv_heads: _Count | None = Field(
        None, validation_alias=AliasChoices("n_kv_heads", "num_key_value_heads"), description="as n_heads"
    )
    moe_num_experts: _Count = _spelled("moe_num_experts", "num_experts", "experts of a block")
    moe_top_k: _Count = _spelled("moe_top_k", "num_experts_per_tok", "experts per token")
    head_dim: _Width | None = Field(None, description="width of a head, d_model / n_heads")
    mlp_hidden_size: _Width | None = Field(None, description="width of gate and up together, of an MLP")
    mlp_ratio: _Count | None = Field(None, description="mlp_hidden_size in units of d_model")
    intermediate_size: _Width | None = Field(None, description="hidden width of an expert")
    embedding_size: _Rows = _spelled("embedding_size", "vocab_size", "rows of the embedding and of the head")
    vocab_size: _Rows | None = Field(None, description="ids of the vocabulary")
    additional_vocab_size: Annotated[int, Field(ge=0, le=1 << 20)] = Field(description="rows behind the embedding")
    rope_theta: Annotated[float, Field(ge=1, le=1e12)] = Field(description="base of the rotary positions")
    layer_norm_eps: _Epsilon = _spelled("layer_norm_eps", "rms_norm_eps", "epsilon of the decoder's norms")
    max_sequence_length: _Positions = _spelled(
        "max_sequence_length", "max_position_embeddings", "positions of a request"
    )
    vit_layers: Annotated[tuple[int, ...], Field(strict=False, min_length=1, max_length=16)] = Field(
        description="blocks of the tower whose outputs are used"
    )
    image_pooling_h: _Pixels = Field(description="patches of a pooling window, in a column")
    image_pooling_w: _Pixels = Field(description="patches of a pooling window, in a row")
    overlap_margins: Annotated[tuple[_Margin, _Margin], Field(strict=False)] = Field(
        description="patches by which a crop overlaps the one before and the next"
    )
    vision_backbone: _VisionKeys = Field(description="the vision tower")

    # What this implementation computes; a file need not say so.
    block_type: Literal["moe"] = Field("moe", description="kind of a block")
    activation_type: Literal["swiglu"] = Field("swiglu", description="activation of the MLPs")
    layer_norm_type: Literal["rms"] = Field("rms", description="kind of the norms")
    attention_layer_norm: Literal[True] = Field(True, description="whether queries and keys are normalised")
    rope: Literal[True] = Field(True, description="whether positions are rotary")
    image_pooling_2d: Literal["attention-meanq"] = Field("attention-meanq", description="pooling of the patches")
    image_projector: Literal["mlp"] = Field("mlp", description="from the tower to the decoder")
    image_padding_embed: Literal["pad_and_partial_pad"] = Field(
        "pad_and_partial_pad", description="marks of a crop's padding"
    )
    weight_tying: Literal[False] = Field(False, description="whether embedding and head are one")
    include_bias: Literal[False] = Field(False, description="whether the decoder's layers have biases")
    norm_after: Literal[False] = Field(False, description="whether norms come after the layers")
    alibi: Literal[False] = Field(False, description="whether attention is biased by distance")
    moe_interleave: Literal[False] = Field(False, description="whether only every other block has experts")
    moe_shared_expert: Literal[False] = Field(False, description="whether one expert serves every token")
    scale_logits: Literal[False] = Field(False, description="whether logits are scaled by the width")
    normalize_input_embeds: Literal[False] = Field(False, description="whether embeddings are normalised")
    use_cls_feature: Literal[False] = Field(False, description="whether the class token is a feature")
    use_col_tokens: Literal[True] = Field(True, description="whether rows of image tokens end with a token")

    clip_qkv: None = Field(None, description="no limit of queries, keys and values")
    attn_logit_softcapping: None = Field(None, description="no limit of attention's logits")
    final_logit_softcapping: None = Field(None, description="no limit of the head's logits")
    rope_scaling: None = Field(None, description="no scaling of positions")

    @property
    def expert_width(self) -> int:
        """Newer copies say it; else it is that of every gated MLP, the projector's as well."""
        return self.intermediate_size or self._mlp_width

    @property
    def projector_width(self) -> int:
        return self._mlp_width or self.intermediate_size or 0

    @property
    def _mlp_width(self) -> int:
        """As in OLMo's SwiGLU, the file counts two halves, gate and up, together. 0 where it says nothing usable."""
        both = self.mlp_hidden_size or (self.mlp_ratio or 0) * self.d_model
        return 0 if both % 2 else both // 2

    @model_validator(mode="after")
    def _check(self) -> Self:
        vision = self.vision_backbone
        _must(
            self.n_kv_heads in (None, self.n_heads),
            "n_kv_heads differs from n_heads; MolmoE has no grouped queries",
        )
        _must(
            self.d_model % (2 * self.n_heads) == 0,
            f"d_model is {self.d_model}; {self.n_heads} heads (n_heads) of an even width must divide it",
        )
        _must(
            self.head_dim in (None, self.d_model // self.n_heads),
            f"head_dim is {self.head_dim}; expected d_model / n_heads, which is {self.d_model // self.n_heads}",
        )
        _must(
            self.moe_top_k <= self.moe_num_experts,
            f"moe_top_k is {self.moe_top_k}; expected at most moe_num_experts, which is {self.moe_num_experts}",
        )
        _must(
            (self.vocab_size or 0) <= self.embedding_size,
            f"vocab_size is {self.vocab_size}; expected at most embedding_size, which is {self.embedding_size}",
        )
        _must(
            0 < self.projector_width <= 1 << 18,
            f"mlp_hidden_size is {self.mlp_hidden_size} and mlp_ratio {self.mlp_ratio}; expected one of them: the "
            "width of gate and up together, which is even",
        )
        _must(
            self.n_layers * self.moe_num_experts <= 1 << 16,
            f"n_layers is {self.n_layers} and moe_num_experts {self.moe_num_experts}; expected at most 65536 experts",
        )
        layers = vision.image_num_layers
        _must(
            all(-layers <= layer < layers for layer in self.vit_layers),
            f"vit_layers is {list(self.vit_layers)}; the tower has {layers} blocks, expected {-layers} to {layers - 1}",
        )
        rows, columns = (side // vision.image_patch_size for side in vision.image_default_input_size)
        _must(
            rows % self.image_pooling_h == 0 and columns % self.image_pooling_w == 0,
            f"image_pooling_h is {self.image_pooling_h} and image_pooling_w {self.image_pooling_w}; crops have "
            f"{rows} x {columns} patches, expected windows that tile them",
        )
        return self


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
    projector_dim: int
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
        try:
            keys = _Keys.model_validate(raw)
        except ValidationError as error:
            raise AdaMolmoError(sentence(error, _Keys, lambda _: source)) from error
        if not 0 <= fixed_prefix_layers < keys.n_layers:
            raise AdaMolmoError(
                f"fixed_prefix_layers is {fixed_prefix_layers}; {source} has {keys.n_layers} blocks, "
                "expected a number below that."
            )
        vision = keys.vision_backbone
        return cls(
            vision=VisionConfig(
                image_size=vision.image_default_input_size,
                patch_size=vision.image_patch_size,
                width=vision.image_emb_dim,
                num_layers=vision.image_num_layers,
                num_heads=vision.image_num_heads,
                head_dim=vision.image_head_dim,
                mlp_dim=vision.image_mlp_dim,
                num_positions=vision.image_num_pos,
                norm_eps=vision.image_norm_eps,
            ),
            d_model=keys.d_model,
            num_layers=keys.n_layers,
            num_heads=keys.n_heads,
            num_experts=keys.moe_num_experts,
            top_k=keys.moe_top_k,
            expert_dim=keys.expert_width,
            projector_dim=keys.projector_width,
            embedding_size=keys.embedding_size,
            additional_vocab_size=keys.additional_vocab_size,
            rope_theta=keys.rope_theta,
            norm_eps=keys.layer_norm_eps,
            max_positions=keys.max_sequence_length,
            vit_layers=keys.vit_layers,
            pooling=(keys.image_pooling_h, keys.image_pooling_w),
            overlap_margins=keys.overlap_margins,
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
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        found = _read_yaml(text)["model"] if path.suffix == ".yaml" else json.loads(text)
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as the model's configuration ({error!r}).") from error


def _read_yaml(text: str) -> dict:
    # A few lines of aliases can stand for gigabytes, as soon as they are written out.
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
        raise ValueError("it has an alias")
    return yaml.safe_load(text)


def _must(right: bool, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)
