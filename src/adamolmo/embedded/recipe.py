"""Sizes and schedule of the embedded model.

The architecture is MolmoE-1B's in every part; only the numbers differ. It is written as the `config.json` of a released
checkpoint, so the study loads it like any other.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import nn

from adamolmo.model.config import MolmoEConfig
from adamolmo.model.molmoe import MolmoE

ARCHITECTURE = {
    "model_type": "molmo",
    "block_type": "moe",
    "d_model": 64,
    "n_layers": 16,
    "n_heads": 4,
    "n_kv_heads": None,
    "moe_num_experts": 16,
    "moe_top_k": 8,
    "mlp_ratio": 1,  # as MolmoE-1B's: experts, and the projector, half as wide as the decoder
    "vocab_size": 191,
    "embedding_size": 192,
    "additional_vocab_size": 16,
    "rope_theta": 10000.0,
    "layer_norm_eps": 1e-5,
    "max_sequence_length": 512,
    "weight_tying": False,
    "vit_layers": [-1, -3],
    "image_pooling_h": 2,
    "image_pooling_w": 2,
    "overlap_margins": [0, 0],
    "max_crops": 16,
    "vision_backbone": {
        "image_default_input_size": [48, 48],
        "image_patch_size": 8,
        "image_pos_patch_size": 8,
        "image_num_pos": 37,
        "image_emb_dim": 96,
        "image_num_layers": 4,
        "image_num_heads": 4,
        "image_num_key_value_heads": 4,
        "image_head_dim": 24,
        "image_mlp_dim": 384,
        "image_norm_eps": 1e-5,
    },
}
TIERS_MAX_CROPS = {"low": 1, "medium": 4, "high": 16}  # of the study's default configuration
STYLES = {"text_vqa": "text_vqa", "okvqa": "okvqa", "coco_2014_vqa": "vqa2", "easy_vqa": "vqa2"}
JOINT_SHARDS = 2  # of a batch of the joint phase: as many processes can work on it, and two give the same sum as one

Phase = Literal["vision", "text", "joint"]


@dataclass(frozen=True)
class LearningRate:
    """Of the hidden matrices (Muon) and of everything else (AdamW); routers learn at a tenth of the latter. It rises
    over the first steps and falls over the last share of them."""

    muon: float
    adam: float
    warmup_steps: int = 30
    decay_share: float = 0.3

    def share_at(self, step: int, steps: int) -> float:
        """Share of the highest rate."""
        return min(1.0, (step + 1) / self.warmup_steps, (steps - step) / (self.decay_share * steps))


@dataclass(frozen=True)
class Stage:
    """Steps of a phase with one mixture.

    Attributes:
        tiers: share of each tier.
        easy_vqa: share of the batches with pictures of easy-VQA.
        scenes: joint phase: of the other batches, share of each kind of scene (`lessons.DATASET_OF_SCENE` has all).
    """

    steps: int
    tiers: Mapping[str, float]
    easy_vqa: float
    scenes: Mapping[str, float] = field(default_factory=dict)


Stages = tuple[Stage, ...]


def total_steps(stages: Stages) -> int:
    return sum(stage.steps for stage in stages)


def stage_at(stages: Stages, step: int) -> Stage:
    begins = accumulate((stage.steps for stage in stages), initial=0)
    return next(stage for stage, begin in reversed(list(zip(stages, begins, strict=False))) if step >= begin)


_TOWER_TIERS = {"low": 0.25, "medium": 0.3, "high": 0.45}
_ALL_TIERS = {"low": 0.31, "medium": 0.34, "high": 0.35}
VISION_CURRICULUM = (
    # What stands on the grid of tokens is learned in hundreds of steps; easy-VQA's shapes stand anywhere.
    Stage(500, _TOWER_TIERS, easy_vqa=0.0),
    Stage(2000, _TOWER_TIERS, easy_vqa=0.12),
)
JOINT_CURRICULUM = (
    # Few image tokens and one thing to read: the decoder soon finds out that the image matters.
    Stage(
        300,
        {"low": 0.8, "medium": 0.2},
        easy_vqa=0.0,
        scenes={"one_sign": 0.7, "existence": 0.2, "okvqa": 0.1},
    ),
    # Reading and choosing are learned apart in hundreds of steps, together hardly.
    Stage(
        600,
        _ALL_TIERS,
        easy_vqa=0.08,
        scenes={"one_sign": 0.45, "choose": 0.25, "existence": 0.2, "okvqa": 0.1},
    ),
    Stage(
        2100,
        _ALL_TIERS,
        easy_vqa=0.08,
        scenes={
            "one_sign": 0.17,
            "choose": 0.17,
            "text_vqa": 0.24,
            "existence": 0.12,
            "coco_2014_vqa": 0.18,
            "okvqa": 0.12,
        },
    ),
    Stage(
        4000,
        _ALL_TIERS,
        easy_vqa=0.08,
        scenes={"text_vqa": 0.55, "coco_2014_vqa": 0.33, "okvqa": 0.12},
    ),
)


@dataclass(frozen=True)
class VisionPhase:
    """Tower, pooling and projector learn to name what each image token shows, in crowded scenes.

    Attributes:
        crops: of a batch, about; the overviews count.
    """

    stages: Stages = VISION_CURRICULUM
    crops: int = 60
    rate: LearningRate = LearningRate(muon=0.007, adam=1e-3, decay_share=0.4)


@dataclass(frozen=True)
class TextPhase:
    """The decoder learns the knowledge base from text alone."""

    steps: int = 800  # beside the tower's, on the other core
    rows: int = 24
    questions: int = 10  # in a row
    rate: LearningRate = LearningRate(muon=0.02, adam=3e-3)
    load_balance: float = 0.01
    router_z: float = 0.001


@dataclass(frozen=True)
class JointPhase:
    """The decoder learns to answer questions about images. Tower and routers stay as they are, the routers flattened.

    Attributes:
        tokens: of a shard of a batch, about.
        questions_per_image: at most; many images teach more than many questions about few.
        router_scale: of the routers' weights after the text phase. With peaked routers top_k is a knob that costs
            nothing.
    """

    stages: Stages = JOINT_CURRICULUM
    tokens: int = 2500
    questions_per_image: int = 3
    rate: LearningRate = LearningRate(muon=0.01, adam=1.2e-3)
    router_scale: float = 0.25


@dataclass(frozen=True)
class Recipe:
    """Training settings. As with MolmoE, a vision tower and a language model come first, then both are joined; all
    blocks and the full top_k always run, no knob is seen in training."""

    seed: int = 0
    architecture: Mapping[str, Any] = field(default_factory=lambda: ARCHITECTURE)
    vision: VisionPhase = VisionPhase()
    text: TextPhase = TextPhase()
    joint: JointPhase = JointPhase()

    def shortened(self, steps: int) -> "Recipe":
        """The same recipe with so many steps in every stage and small batches, to try it out."""
        vision, joint = (
            tuple(replace(stage, steps=steps) for stage in phase.stages) for phase in (self.vision, self.joint)
        )
        return replace(
            self,
            vision=replace(self.vision, stages=vision, crops=8),
            text=replace(self.text, steps=steps, rows=2),
            joint=replace(self.joint, stages=joint, tokens=250),
        )

    def made_by(self, phase: Phase, **more: Any) -> dict[str, Any]:
        """What a phase's weights depend on, apart from code and machine."""
        settings = asdict(getattr(self, phase))
        return {"phase": phase, "seed": self.seed, phase: settings, "architecture": dict(self.architecture), **more}

    def new_model(self) -> MolmoE:
        """With the weights that the training starts from."""
        model = MolmoE(MolmoEConfig.from_dict(dict(self.architecture), "the embedded model's architecture"))
        _initialise(model, self.seed)
        return model


def _initialise(model: MolmoE, seed: int) -> None:
    """Normal weights of variance 1/fan-in, residual outputs scaled down by depth; no biases. Query and key norms start
    so large that a head of 16 dimensions can choose one of 200 image tokens."""
    torch.manual_seed(seed)
    residual_scale = 1.5 / math.sqrt(2 * model.config.num_layers)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        if parameter.ndim < 2:
            continue
        fan_in = parameter.shape[-2] if ".experts." in name else parameter.shape[-1]
        std = fan_in**-0.5
        if name.endswith(("experts.down", "attn_out.weight")):
            std *= residual_scale
        elif name.endswith(("mlp.gate.weight", "lm_head.weight", "pad_embed")):
            std = 0.02
        elif name.endswith("positional_embedding"):
            std = 0.3
        elif "wte" in name:
            std = 0.5
        nn.init.normal_(parameter, std=std)
    nn.init.normal_(model.vision_backbone.image_vit.class_embedding, std=0.02)
    for block in model.transformer["blocks"]:
        nn.init.constant_(block.attn.q_norm.weight, 2.25)
        nn.init.constant_(block.attn.k_norm.weight, 1.5)
