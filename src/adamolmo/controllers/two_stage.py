"""Controllers that decide twice: the tier before vision, top_k and blocks after the fixed prefix.

They differ in what stage 1 reads: the budget alone (two-stage-budget), also the question (two-stage-language), or the
question's nearest prototype (two-stage-router, semantic routing). Stage 2 is the latency token of AdaLLaVA
(arXiv 2503.10905) with the prefix computed once: the budget becomes one more prompt position that no other position
sees, passes the fixed prefix, and its state there decides.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.choosing import log_mass
from adamolmo.controllers.training.budget_code import CODE_SIZE, BudgetEncoder
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
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.files.policy import LearnedArchitecture, LearnedCard
from adamolmo.inference.controller import NOTHING, Decision, Limit, Stage1Inputs
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import TrainingSettings

TIER_HIDDEN = 32
QUESTION_HIDDEN = 64
PROTOTYPES = 12
CLUSTERING_ROUNDS = 20
SCHEDULER_HIDDEN = 128
_GELU = math.sqrt(2 / math.pi), 0.044715  # of its tanh form


class TierNetwork(nn.Module, ABC):
    """Stage 1: code of the budget [..., 256], pooled question [..., d_model] -> logits of the tiers [..., tiers].

    What follows from the budget alone stands apart, for it is the same for all requests with that budget.
    """

    @abstractmethod
    def of_budget(self, code: Tensor) -> Tensor:
        """[..., 256] -> [..., hidden]."""

    @abstractmethod
    def decide(self, of_budget: Tensor, question: Tensor | None) -> Tensor:
        """[..., hidden], [..., d_model] -> [..., tiers]."""

    def forward(self, code: Tensor, question: Tensor | None) -> Tensor:
        return self.decide(self.of_budget(code), question)


class BudgetTier(TierNetwork):
    """Stage 1 on the budget alone; about 10 k parameters."""

    reads = NOTHING

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(CODE_SIZE, TIER_HIDDEN), Gelu(), nn.Linear(TIER_HIDDEN, TIER_HIDDEN), Gelu()
        )
        self.head = undecided(TIER_HIDDEN, len(grid.tiers))

    def fit(self, question: Tensor) -> None:
        """There is nothing to fit."""

    def of_budget(self, code: Tensor) -> Tensor:
        return self.head(self.body(code))

    def decide(self, of_budget: Tensor, question: Tensor | None) -> Tensor:
        return of_budget


class LanguageTier(TierNetwork):
    """Stage 1 on budget and question."""

    reads = frozenset({"question"})

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.scale = Standardise(d_model)
        self.of_question = nn.Linear(d_model, QUESTION_HIDDEN)
        self.of_code = nn.Linear(CODE_SIZE, QUESTION_HIDDEN)
        self.body = nn.Sequential(Gelu(), nn.Linear(QUESTION_HIDDEN, QUESTION_HIDDEN), Gelu())
        self.head = undecided(QUESTION_HIDDEN, len(grid.tiers))

    def fit(self, question: Tensor) -> None:
        self.scale.fit(question)

    def of_budget(self, code: Tensor) -> Tensor:
        return self.of_code(code)

    def decide(self, of_budget: Tensor, question: Tensor) -> Tensor:
        return self.head(self.body(self.of_question(self.scale(question)) + of_budget))


class RouterTier(TierNetwork):
    """Stage 1 by semantic routing: the question goes to the nearest of PROTOTYPES prototypes, each of which has its own
    map from the budget to a tier. The prototypes are the centres of the profile's questions by k-means."""

    reads = frozenset({"question"})

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.scale = Standardise(d_model)
        self.register_buffer("prototypes", torch.zeros(PROTOTYPES, d_model))
        self.body = nn.Sequential(nn.Linear(CODE_SIZE, TIER_HIDDEN), Gelu())
        self.heads = nn.Parameter(torch.zeros(PROTOTYPES, TIER_HIDDEN + 1, len(grid.tiers)))

    def fit(self, question: Tensor) -> None:
        self.scale.fit(question)
        self.prototypes.copy_(_cluster_centres(self.scale(question), PROTOTYPES))

    def of_budget(self, code: Tensor) -> Tensor:
        return self.body(code)

    def decide(self, of_budget: Tensor, question: Tensor) -> Tensor:
        nearest = torch.cdist(self.scale(question), self.prototypes).argmin(dim=-1)
        head = self.heads[nearest]  # [..., hidden + 1, tiers]
        return (of_budget[..., None, :] @ head[..., :-1, :])[..., 0, :] + head[..., -1, :]


def _cluster_centres(points: Tensor, count: int) -> Tensor:
    """k-means (Lloyd, 1982) from centres that are far from each other: [points, dim] -> [count, dim]."""
    centres = points[:1]
    while len(centres) < count:  # the point that is farthest from all centres so far
        centres = torch.cat([centres, points[torch.cdist(points, centres).amin(dim=1).argmax()][None]])
    for _ in range(CLUSTERING_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        member = nn.functional.one_hot(nearest, count).to(points.dtype)
        sizes = member.sum(dim=0)[:, None]
        centres = torch.where(sizes > 0, member.T @ points / sizes.clamp(min=1), centres)
    return centres


class Scheduler(nn.Module):
    """Stage 2: the budget token's state and the tier -> logits of top_k and of the number of blocks."""

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.of_state = nn.Linear(d_model, SCHEDULER_HIDDEN)
        self.of_tier = nn.Embedding(len(grid.tiers), SCHEDULER_HIDDEN)
        self.gelu = Gelu()
        self.top_k = undecided(SCHEDULER_HIDDEN, len(grid.top_k))
        self.num_active_blocks = undecided(SCHEDULER_HIDDEN, len(grid.num_active_blocks))

    def forward(self, state: Tensor, tier: Tensor) -> tuple[Tensor, Tensor]:
        """[..., d_model] and the tier's index, [...] or one for all -> [..., top_k values], [..., block counts]."""
        hidden = self.gelu(self.of_state(self.norm(state)) + self.of_tier(tier))
        return self.top_k(hidden), self.num_active_blocks(hidden)


class HostScheduler:
    """A trained scheduler for single requests, in arrays: for so few numbers every call of PyTorch costs more than the
    arithmetic. What is linear is folded together: the norm's weights into what reads it, the tiers into biases."""

    def __init__(self, scheduler: Scheduler):
        def array(values: Tensor) -> np.ndarray:
            return np.ascontiguousarray(values.detach().float().cpu().numpy())

        norm, of_state = scheduler.norm, scheduler.of_state
        self.eps = norm.eps
        self.into_hidden = array((of_state.weight * norm.weight).T)  # [d_model, hidden]
        self.of_tier = array(of_state(norm.bias) + scheduler.of_tier.weight)  # [tiers, hidden]
        heads = (scheduler.top_k, scheduler.num_active_blocks)
        self.into_heads = array(torch.cat([head.weight for head in heads]).T)  # [hidden, top_k values + block counts]
        self.of_heads = array(torch.cat([head.bias for head in heads]))
        self.num_top_k = scheduler.top_k.out_features

    def __call__(self, state: np.ndarray, tier: int) -> tuple[np.ndarray, np.ndarray]:
        """[d_model] -> logits of top_k [top_k values] and of the number of blocks [block counts]."""
        centred = state - state.mean()
        normal = centred / math.sqrt(centred @ centred / len(centred) + self.eps)
        hidden = normal @ self.into_hidden + self.of_tier[tier]
        hidden *= 1 + np.tanh(_GELU[0] * (hidden + _GELU[1] * hidden * hidden * hidden))  # Gelu, but for the half
        heads = 0.5 * (hidden @ self.into_heads) + self.of_heads
        return heads[: self.num_top_k], heads[self.num_top_k :]


STAGE_1 = {"two-stage-budget": BudgetTier, "two-stage-language": LanguageTier, "two-stage-router": RouterTier}


class TwoStagePolicy(Policy):
    """Both stages, trained together."""

    def __init__(self, name: str, architecture: LearnedArchitecture, grid: KnobGrid):
        super().__init__(grid)
        d_model = architecture.d_model
        self.tier = STAGE_1[name](d_model, grid)
        self.encoder = BudgetEncoder(d_model)
        self.scheduler = Scheduler(d_model, grid)

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        self.tier.fit(data.readings.question[rows])

    def log_probs(self, data: TrainingSet, rows: Tensor, budget: Tensor, prior: Tensor) -> Tensor:
        of_tier, of_rest = by_stage(prior, self.grid)
        code = self.code(budget)
        question = data.readings.question[rows][:, None].expand(-1, budget.shape[1], -1)
        of_tier = (self.tier(code, question) + of_tier).log_softmax(dim=-1)
        tokens = self.encoder(code)
        of_config = []
        for tier in range(len(self.grid.tiers)):
            states = data.states(rows.tolist(), tier, tokens)
            top_k, blocks = self.scheduler(states, torch.tensor(tier, device=states.device))
            rest = (top_k[..., :, None] + blocks[..., None, :] + of_rest[..., tier, :, :]).flatten(2)
            of_config.append(of_tier[..., tier, None] + rest.log_softmax(dim=-1))
        return torch.cat(of_config, dim=2)


def by_stage(prior: Tensor, grid: KnobGrid) -> tuple[Tensor, Tensor]:
    """Logits of the table's policy [..., configurations] -> those of the tier [..., tiers], and those of the rest at
    every tier [..., tiers, top_k values, block counts]."""
    of_rest = prior.unflatten(-1, grid.shape)
    return of_rest.flatten(-2).logsumexp(dim=-1), of_rest


class TwoStageController(LearnedController):
    """The most probable choice of a trained policy at each stage.

    What follows from the budget alone is computed at the first request of each budget and kept for the others.
    """

    def __init__(self, name: str, policy: TwoStagePolicy, card: LearnedCard, *fitted):
        super().__init__(name, policy, card, *fitted)
        self._encoded = lru_cache(KEPT_BUDGETS)(self._encode)
        self._reads = policy.tier.reads | {"size"}

    @torch.inference_mode()
    def _encode(self, budget_ms: float) -> tuple[Tensor, Tensor]:
        """What stage 1 knows of a budget [1, hidden], and its token [1, d_model]."""
        code = self.policy.code(self._budget(budget_ms))
        return self.policy.tier.of_budget(code), self.policy.encoder(code).to(self.dtype)

    @cached_property
    def scheduler(self) -> HostScheduler:
        return HostScheduler(self.policy.scheduler)

    def reads(self, limit: Limit):
        return self._reads

    @torch.inference_mode()
    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        of_budget, _ = self._encoded(inputs.budget_ms)
        of_rest = self.prior(inputs).reshape(self.grid.shape)
        of_tier = log_mass(of_rest.reshape(len(of_rest), -1))
        tier = int((self.policy.tier.decide(of_budget, inputs.question)[0].cpu().numpy() + of_tier).argmax())
        return Decision(self.grid.tiers[tier], prior=of_rest[tier])

    def budget_token(self, budget_ms: float) -> Tensor:
        _, token = self._encoded(budget_ms)
        return token

    @torch.inference_mode()
    def predict_stage2(self, budget_ms: float, decision: Decision, budget_state: Tensor) -> tuple[int, int]:
        state = budget_state[0].float().cpu().numpy()  # [d_model]
        of_top_k, of_blocks = self.scheduler(state, self.grid.tiers.index(decision.tier))
        best = int((of_top_k[:, None] + of_blocks + decision.prior).argmax())
        top_k, blocks = divmod(best, len(self.grid.num_active_blocks))
        return self.grid.top_k[top_k], self.grid.num_active_blocks[blocks]


def design(name: str) -> Design:
    return Design(STAGE_1[name].reads | {"size"}, stages=2)


def load(name: str, context: ControllerContext) -> LearnedController:
    """Raises AdaMolmoError when the policy's files are unusable or it was trained for another study."""
    return load_learned(name, context, TwoStagePolicy, TwoStageController)


def train(
    name: str, directory: Path, data: TrainingSet, overhead_ms: OverheadMs, settings: TrainingSettings, seed: int
) -> DataFrame:
    """See `learned.train_learned`."""
    return train_learned(name, directory, data, overhead_ms, settings, seed, TwoStagePolicy, TwoStageController)
