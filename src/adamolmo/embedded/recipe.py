"""Sizes and schedule of the embedded model.

The architecture is MolmoE-1B's in every part; only the numbers differ. It is written as the `config.json` of a released
checkpoint, so the study loads it like any other.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

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
    "moe_num_experts": 8,
    "moe_top_k": 8,
    "mlp_hidden_size": 192,  # gate and up together: a projector of 96, as wide as the tower
    "intermediate_size": 64,  # of an expert
    "vocab_size": 178,
    "embedding_size": 184,
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


@dataclass(frozen=True)
class TrainingTier:
    """One vision tier in training.

    Attributes:
        max_crops: high-resolution crops.
        smallest_px: size on the canvas that such crops just resolve (a patch of 8 px).
        vision_images: images per batch of the vision phase.
        joint_images: images per batch and worker of the joint phase: about the same number of tokens for every tier.
        share: of the steps.
    """

    max_crops: int
    smallest_px: int
    vision_images: int
    joint_images: int
    share: float


TIERS = {
    "low": TrainingTier(max_crops=1, smallest_px=32, vision_images=32, joint_images=40, share=0.31),
    "medium": TrainingTier(max_crops=4, smallest_px=16, vision_images=10, joint_images=24, share=0.34),
    "high": TrainingTier(max_crops=16, smallest_px=8, vision_images=4, joint_images=11, share=0.35),
}
DATASET_SHARES = {"text_vqa": 0.6, "okvqa": 0.1, "coco_2014_vqa": 0.3}
# Of the text_vqa scenes while there are lessons; the rest is as in the dataset.
LESSON_SHARES = {"one_sign": 0.3, "choose": 0.3}
# Of the coco_2014_vqa scenes while there are lessons, those with nothing but questions whether something is there.
EXISTENCE_SHARE = 0.4
STYLE_OF_DATASET = {"text_vqa": "text_vqa", "okvqa": "okvqa", "coco_2014_vqa": "vqa2"}


JOINT_SHARDS = 2  # of a batch of the joint phase: as many processes can work on it, and two give the same sum as one


@dataclass(frozen=True)
class LearningRate:
    """Of the hidden matrices (Muon) and of everything else (AdamW); routers learn at a tenth of the latter."""

    muon: float
    adam: float


@dataclass(frozen=True)
class Recipe:
    """Training settings. As with MolmoE, a vision tower and a language model come first, then both are joined; all
    blocks and the full top_k always run, no knob is seen in training."""

    seed: int = 0
    architecture: Mapping[str, Any] = field(default_factory=lambda: ARCHITECTURE)
    questions_per_image: int = 3  # many images teach more than many questions about few
    vision_steps: int = 1000
    text_steps: int = 300
    text_rows: int = 24
    text_questions: int = 10
    joint_steps: int = 5000
    low_tier_steps: int = 150  # few image tokens: the decoder soon finds out that the image matters
    lesson_steps: int = 3800  # reading and choosing are learned apart in hundreds of steps, together hardly
    batch_share: float = 1.0  # of the images per batch that TIERS names
    warmup_steps: int = 30
    decay_share: float = 0.25
    vision_rate: LearningRate = LearningRate(muon=0.007, adam=1e-3)
    text_rate: LearningRate = LearningRate(muon=0.02, adam=3e-3)
    joint_rate: LearningRate = LearningRate(muon=0.01, adam=1.2e-3)
    load_balance: float = 0.01
    router_z: float = 0.001
    router_scale: float = 0.25  # of the routers' weights after the text phase

    def shortened(self, steps: int) -> "Recipe":
        """The same recipe with so many steps in every phase and small batches, to try it out."""
        return replace(
            self,
            vision_steps=steps,
            text_steps=steps,
            joint_steps=steps,
            text_rows=2,
            batch_share=0.15,
        )

    def made_by(self, phase: str, **more: Any) -> dict[str, Any]:
        """What a phase's weights depend on, apart from code and machine."""
        return {"phase": phase, "recipe": asdict(self), **more}

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
