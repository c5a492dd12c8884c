"""Lighter looks at the image than the model's own vision tower, both on the downscaled image (`readings.THUMBNAIL_PX`).

`DistilledFeature` is a small convolutional student of the full feature: it regresses the feature's first principal
components, that is, in which ways and how strongly pictures of this data differ, and is then frozen.
`MobileViTFeature` is MobileViT (arXiv 2110.02178) as transformers implements it: a frozen checkpoint if one is
configured, otherwise a small one from random weights that is trained with the policy, end to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.readings import THUMBNAIL_PX

if TYPE_CHECKING:
    from adamolmo.controllers.training.training_set import TrainingSet
    from adamolmo.files.policy import LearnedArchitecture

COMPONENTS = 8
DISTILLATION_STEPS = 300
DISTILLATION_BATCH = 64
DISTILLATION_RATE = 2e-3
# MobileViT-small's sizes, which the configured width multiplies.
_HIDDEN, _NECK, _HEADS = (144, 192, 240), (16, 32, 64, 96, 128, 160, 640), 4


class DistilledFeature(nn.Module):
    """Thumbnails [samples, 3, px, px] -> estimates of the full feature's principal components [samples, COMPONENTS]."""

    reading = "thumbnail"
    width = COMPONENTS

    def __init__(self, architecture: LearnedArchitecture):
        super().__init__()
        side = THUMBNAIL_PX // 16
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 5, stride=4, padding=2),
            nn.GELU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(32 * side**2, COMPONENTS),
        )

    def forward(self, thumbnail: Tensor) -> Tensor:
        return self.layers(thumbnail)

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        """Distils on these rows; afterwards nothing of it is trained."""
        targets = principal_components(data.readings.overview[rows], COMPONENTS)
        thumbnails = data.readings.thumbnail[rows]
        optimiser = torch.optim.AdamW(self.parameters(), lr=DISTILLATION_RATE)
        for _ in range(DISTILLATION_STEPS):
            batch = torch.randint(len(rows), (DISTILLATION_BATCH,)).to(thumbnails.device)
            loss = nn.functional.mse_loss(self(thumbnails[batch] / 255), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.requires_grad_(False)


def principal_components(samples: Tensor, count: int) -> Tensor:
    """[samples, dim] -> the samples along the `count` directions of largest variance, each scaled to variance 1:
    [samples, count]; 0 where the samples have fewer directions. Signs are fixed by each direction's largest entry."""
    centred = samples - samples.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    directions = directions[:count]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    along = centred @ (directions * largest.sign()).T
    spread = along.std(dim=0, correction=0)
    along = torch.where(spread > 1e-3 * spread[0], along / spread.clamp(min=1e-12), torch.zeros(()))
    return nn.functional.pad(along, (0, count - along.shape[1]))


class MobileViTFeature(nn.Module):
    """Thumbnails [samples, 3, px, px] -> MobileViT's pooled output [samples, width]."""

    reading = "thumbnail"

    def __init__(self, architecture: LearnedArchitecture):
        super().__init__()
        settings = architecture.mobilevit
        self.frozen = settings.checkpoint is not None
        self.encoder = _pretrained(settings.checkpoint) if self.frozen else _from_scratch(settings.width)
        self.width = self.encoder.config.neck_hidden_sizes[-1]
        if self.frozen:
            self.encoder.requires_grad_(False)

    def forward(self, thumbnail: Tensor) -> Tensor:
        return self.encoder(thumbnail.flip(1)).pooler_output  # MobileViT reads blue, green, red

    def train(self, mode: bool = True) -> MobileViTFeature:
        """A frozen encoder keeps its running statistics too."""
        return super().train(mode and not self.frozen)

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        """There is nothing to fit: the encoder is frozen, or trained with the policy."""


def _from_scratch(width: float) -> nn.Module:
    transformers = _transformers()
    config = transformers.MobileViTConfig(
        image_size=THUMBNAIL_PX,
        hidden_sizes=[_HEADS * max(2, round(width * size / _HEADS)) for size in _HIDDEN],
        neck_hidden_sizes=[max(4, round(width * size)) for size in _NECK],
        num_attention_heads=_HEADS,
        hidden_dropout_prob=0.0,
    )
    return transformers.MobileViTModel(config)


def _pretrained(checkpoint: str) -> nn.Module:
    transformers = _transformers()
    try:
        if torch.get_default_device().type == "meta":  # sizes are asked for, not weights
            return transformers.MobileViTModel(transformers.MobileViTConfig.from_pretrained(checkpoint))
        return transformers.MobileViTModel.from_pretrained(checkpoint, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise AdaMolmoError(
            f"training.mobilevit.checkpoint is '{checkpoint}', which cannot be loaded ({reason}); "
            "expected a directory or Hub name of MobileViT weights as safetensors, or null."
        ) from error


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise AdaMolmoError(
            "the controllers with '-mobilevit' need transformers; install it with pip install 'adamolmo[mobilevit]'."
        ) from error
    return transformers
