"""Controllers that settle all three knobs before vision, from a look at the image, the question and the budget.

`single-stage-mlp` and `single-stage-transformer` differ in how the three are combined. What they see of the image:
by default the overview crop's feature, whose encoding the request reuses; with `-distilled` or `-mobilevit` behind the
name a lighter encoder's feature of the downscaled image, which is extra work but does not split the vision stage.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.choosing import most_probable
from adamolmo.controllers.training.budget_code import CODE_SIZE
from adamolmo.controllers.training.learned import (
    KEPT_BUDGETS,
    Gelu,
    LearnedController,
    OverheadMs,
    Policy,
    Standardise,
    load_learned,
    train_learned,
    undecided,
)
from adamolmo.controllers.training.light_vision import DistilledFeature, MobileViTFeature
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.files.policy import LearnedArchitecture, LearnedCard
from adamolmo.inference.controller import Decision, Limit, Reading, Stage1Inputs
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import TrainingSettings

WIDTH = 64
TRANSFORMER_LAYERS = 2
TRANSFORMER_HEADS = 4


class FullFeature(nn.Module):
    """The vision tower's summary of the overview crop, [samples, overview_dim]."""

    reading = "overview"

    def __init__(self, architecture: LearnedArchitecture):
        super().__init__()
        self.width = architecture.overview_dim
        self.scale = Standardise(self.width)

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        self.scale.fit(data.readings.overview[rows])

    def forward(self, overview: Tensor) -> Tensor:
        return self.scale(overview)


class ConcatenatedTokens(nn.Module):
    """Three tokens [..., 3, WIDTH] -> [..., WIDTH] by an MLP on all of them side by side."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Gelu(), nn.Linear(3 * WIDTH, WIDTH), Gelu(), nn.Linear(WIDTH, WIDTH), Gelu())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(tokens.flatten(-2))


class AttendingTokens(nn.Module):
    """Three tokens [..., 3, WIDTH] -> [..., WIDTH] by a transformer encoder and the mean over the tokens."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            WIDTH, TRANSFORMER_HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, TRANSFORMER_LAYERS, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.encoder(tokens.flatten(0, -3)).mean(dim=-2).view(*tokens.shape[:-2], WIDTH)


BODIES = {"single-stage-mlp": ConcatenatedTokens, "single-stage-transformer": AttendingTokens}
SOURCES = {"": FullFeature, "-distilled": DistilledFeature, "-mobilevit": MobileViTFeature}


def _parts(name: str) -> tuple[type[nn.Module], type[nn.Module]]:
    """The body and the source of the image's feature that a controller's name stands for."""
    body = max((body for body in BODIES if name.startswith(body)), key=len)
    return BODIES[body], SOURCES[name.removeprefix(body)]


def _reads(source: nn.Module | type[nn.Module]) -> frozenset[Reading]:
    return frozenset({"size", "question", source.reading})


class SingleStagePolicy(Policy):
    """Feature of the image, pooled question and budget -> one distribution per knob."""

    def __init__(self, name: str, architecture: LearnedArchitecture, grid: KnobGrid):
        super().__init__(grid)
        body, source = _parts(name)
        self.vision = source(architecture)
        self.of_vision = nn.Linear(self.vision.width, WIDTH)
        self.scale = Standardise(architecture.d_model)
        self.of_question = nn.Linear(architecture.d_model, WIDTH)
        self.of_budget = nn.Linear(CODE_SIZE, WIDTH)
        self.body = body()
        self.heads = nn.ModuleList(undecided(WIDTH, choices) for choices in grid.shape)

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        self.scale.fit(data.readings.question[rows])
        self.vision.fit(data, rows)

    def forward(self, image: Tensor, question: Tensor, of_budget: Tensor) -> list[Tensor]:
        """Logits of each knob's values, [samples, budgets, values].

        Args:
            image: what `vision.reading` names, [samples, ...]; a thumbnail as float from 0 to 1.
            question: [samples, d_model].
            of_budget: `encode` of the budgets, [samples, budgets, WIDTH].
        """
        seen = torch.stack([self.of_vision(self.vision(image)), self.of_question(self.scale(question))], dim=1)
        seen = seen[:, None].expand(-1, of_budget.shape[1], -1, -1)
        tokens = torch.cat([seen, of_budget[:, :, None]], dim=2)
        hidden = self.body(tokens)
        return [head(hidden) for head in self.heads]

    def encode(self, budget: Tensor) -> Tensor:
        """Relative budgets [...] -> [..., WIDTH]."""
        return self.of_budget(self.code(budget))

    def log_probs(self, data: TrainingSet, rows: Tensor, budget: Tensor, prior: Tensor) -> Tensor:
        image = getattr(data.readings, self.vision.reading)[rows]
        if self.vision.reading == "thumbnail":
            image = image / 255
        logits = self(image, data.readings.question[rows], self.encode(budget))
        return (of_configs(logits) + prior).log_softmax(dim=-1)


def of_configs(logits: list[Tensor]) -> Tensor:
    """Logits of each knob's values -> those of all configurations, [samples, budgets, configurations]."""
    tier, top_k, blocks = logits
    return (tier[..., :, None, None] + top_k[..., None, :, None] + blocks[..., None, None, :]).flatten(2)


class SingleStageController(LearnedController):
    """The most probable tier, and at that tier the most probable rest."""

    def __init__(self, name: str, policy: SingleStagePolicy, card: LearnedCard, *fitted):
        super().__init__(name, policy, card, *fitted)
        self._decisions = [Decision.of(config) for config in self.grid.configs]
        self._reads = _reads(policy.vision)
        self._encoded = lru_cache(KEPT_BUDGETS)(self._encode)

    @torch.inference_mode()
    def _encode(self, budget_ms: float) -> Tensor:
        """[1, 1, WIDTH], once for all requests with this budget."""
        return self.policy.encode(self._budget(budget_ms)[None])

    def reads(self, limit: Limit):
        return self._reads

    @torch.inference_mode()
    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        image = getattr(inputs, self.policy.vision.reading)
        logits = self.policy(image, inputs.question, self._encoded(inputs.budget_ms))
        tier, top_k, blocks = (of_knob[0, 0].cpu().numpy() for of_knob in logits)
        of_config = tier[:, None, None] + top_k[:, None] + blocks + self.prior(inputs).reshape(self.grid.shape)
        return self._decisions[most_probable(of_config.reshape(len(tier), -1))]


def design(name: str) -> Design:
    _, source = _parts(name)
    return Design(_reads(source))


def load(name: str, context: ControllerContext) -> LearnedController:
    """Raises AdaMolmoError when the policy's files are unusable or it was trained for another study."""
    return load_learned(name, context, SingleStagePolicy, SingleStageController)


def train(
    name: str, directory: Path, data: TrainingSet, overhead_ms: OverheadMs, settings: TrainingSettings, seed: int
) -> DataFrame:
    """See `learned.train_learned`."""
    return train_learned(name, directory, data, overhead_ms, settings, seed, SingleStagePolicy, SingleStageController)
