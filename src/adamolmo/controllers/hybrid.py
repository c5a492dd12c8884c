"""The two-stage design at tight budgets, the single-stage one above a switch point that is read off the profile.

A two-stage controller costs little, which counts when time is short; a single-stage one sees the image before it
decides, which counts when there is time to spend. Where one overtakes the other is measured on the profile's held-out
images, which neither of the two has learned from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pandas import DataFrame
from torch import Tensor

from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.policy_file import save_policy
from adamolmo.controllers.roles import HYBRID_PARTS
from adamolmo.controllers.single_stage import SingleStageController, SingleStagePolicy
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.learned import (
    LearnedController,
    OverheadMs,
    Policy,
    load_learned,
    load_policy,
    with_prior,
)
from adamolmo.controllers.training.reward import Profile
from adamolmo.controllers.training.table_prior import ProfilePrior
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.controllers.two_stage import TwoStageController, TwoStagePolicy
from adamolmo.files.policy import LearnedArchitecture, LearnedCard, of_configs
from adamolmo.inference.controller import Controller, Decision, Limit, Stage1Inputs
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from adamolmo.config.training import TrainingSettings

SWITCH_CANDIDATES = 33


class HybridPolicy(Policy):
    """Copies of two trained policies, and the relative budget from which the second decides."""

    def __init__(self, name: str, architecture: LearnedArchitecture, grid: KnobGrid):
        super().__init__(grid)
        two_stage, single_stage = HYBRID_PARTS
        self.two_stage = TwoStagePolicy(two_stage, architecture, grid)
        self.single_stage = SingleStagePolicy(single_stage, architecture, grid)
        self.register_buffer("switch", torch.zeros(()))

    def log_probs(self, data: TrainingSet, rows: Tensor, budget: Tensor, prior: Tensor) -> Tensor:
        parts = (part.log_probs(data, rows, budget, prior) for part in (self.two_stage, self.single_stage))
        return torch.where(budget[..., None] < self.switch, *parts)


class HybridController(LearnedController):
    """Hands every call to the part that the budget belongs to."""

    def __init__(self, name: str, policy: HybridPolicy, card: LearnedCard, *fitted):
        super().__init__(name, policy, card, *fitted)
        two_stage, single_stage = HYBRID_PARTS
        self.tight = TwoStageController(two_stage, policy.two_stage, card, *fitted)
        self.loose = SingleStageController(single_stage, policy.single_stage, card, *fitted)
        self.switch_ms = policy.switch.item() * card.scale_ms

    def part(self, budget_ms: float) -> Controller:
        return self.tight if budget_ms < self.switch_ms else self.loose

    def reads(self, limit: Limit):
        return self.part(limit.budget_ms).reads(limit)

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        return self.part(inputs.budget_ms).predict_stage1(inputs)

    def budget_token(self, budget_ms: float) -> Tensor | None:
        return self.part(budget_ms).budget_token(budget_ms)

    def predict_stage2(self, budget_ms: float, decision: Decision, budget_state: Tensor | None) -> tuple[int, int]:
        return self.part(budget_ms).predict_stage2(budget_ms, decision, budget_state)


def load(name: str, context: ControllerContext) -> LearnedController:
    """Raises AdaMolmoError when the policy's files are unusable or it was trained for another study."""
    return load_learned(name, context, HybridPolicy, HybridController)


def train(
    name: str, directory: Path, data: TrainingSet, overhead_ms: OverheadMs, settings: TrainingSettings, seed: int
) -> DataFrame:
    """Joins the two parts, which were trained before and lie beside `directory`; returns a log of one row.

    `overhead_ms` is not asked again: each part's was measured when it was trained, and counts in finding the switch.
    """
    builds = (TwoStagePolicy, SingleStagePolicy)
    loaded = [
        load_policy(directory.parent / part, data.fingerprint, build)
        for part, build in zip(HYBRID_PARTS, builds, strict=True)
    ]
    card = loaded[0][1]
    policy = HybridPolicy(name, card.architecture, data.fingerprint.grid)
    for part, (trained, _) in zip((policy.two_stage, policy.single_stage), loaded, strict=True):
        part.load_state_dict(trained.state_dict())
    policy.to(data.device).eval()
    split = grpo.Split.by_image(data.profile.images, settings.held_out, seed)
    added_ms = [part_card.training["overhead_ms"] for _, part_card in loaded]
    of_slowest_ms = {tier: max(of[tier] for of in added_ms) for tier in data.fingerprint.grid.tiers}
    slower = data.profile.slower(of_configs(of_slowest_ms, data.fingerprint.grid))
    prior = ProfilePrior.of(slower, split.learned, settings)
    candidates_ms = torch.linspace(*_range_ms(data), SWITCH_CANDIDATES)
    rewards = [
        _reward_of_choices(
            with_prior(part, data, prior, card.scale_ms),
            data.profile.slower(of_configs(ms, data.fingerprint.grid)),
            split.held_out,
            candidates_ms,
            data.fingerprint.grid,
            settings,
        )
        for part, ms in zip((policy.two_stage, policy.single_stage), added_ms, strict=True)
    ]
    policy.switch.fill_(switch_point(candidates_ms, *rewards) / card.scale_ms)

    log_probs = with_prior(policy, data, prior, card.scale_ms)
    held_out = grpo.score_choices(log_probs, slower, split.held_out, data.fingerprint.grid, settings)
    learned = grpo.score_choices(log_probs, slower, split.learned, data.fingerprint.grid, settings)
    switch_ms = policy.switch.item() * card.scale_ms
    training = {
        "parts": list(HYBRID_PARTS),
        "switch_ms": switch_ms if policy.switch.isfinite() else None,
        "settings": settings.model_dump(),
        "overhead_ms": of_slowest_ms,
    }
    save_policy(directory, policy, card.model_copy(update={"controller": name, "training": training}))
    of_learned = {column.removeprefix("held_out_"): value for column, value in learned.items()}
    return DataFrame([{"step": 1, **of_learned, "kl": 0.0, "entropy": 0.0, **held_out}])


def switch_point(candidates_ms: Tensor, two_stage: Tensor, single_stage: Tensor) -> float:
    """The budget from which the single-stage part decides, so that the mean reward over all candidates is highest;
    infinity if it never should. All [candidates], budgets ascending; on a tie the cheaper two-stage part decides."""
    below = torch.cat([two_stage.new_zeros(1), two_stage.cumsum(dim=0)])
    above = torch.cat([single_stage.flip(0).cumsum(dim=0).flip(0), single_stage.new_zeros(1)])
    total = below + above  # of switching before candidate i
    best = len(total) - 1 - total.flip(0).argmax().item()
    return candidates_ms[best].item() if best < len(candidates_ms) else float("inf")


def _range_ms(data: TrainingSet) -> tuple[float, float]:
    return data.profile.budget_ms[:, 0].min().item(), data.profile.budget_ms[:, 1].max().item()


@torch.no_grad()
def _reward_of_choices(
    log_probs: grpo.LogProbs, profile: Profile, rows: Tensor, budgets_ms: Tensor, grid: KnobGrid, settings
) -> Tensor:
    """Mean reward over `rows` of what a part chooses, [budgets]."""
    total = torch.zeros(len(budgets_ms))
    for chunk in rows.split(grpo.HELD_OUT_CHUNK):
        budget_ms = budgets_ms.expand(len(chunk), -1)
        chosen = grpo.choices(log_probs(chunk, budget_ms), grid)[..., None]
        total += profile.reward(chunk, budget_ms, settings.reward).gather(-1, chosen)[..., 0].sum(dim=0)
    return total / len(rows)
