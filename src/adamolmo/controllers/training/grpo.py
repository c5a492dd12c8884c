"""Trains any controller's policy on the profile table: by GRPO, on the exact expected reward, or supervised.

A policy is seen here as one function: (samples, budgets) -> log-probabilities of all configurations of the grid. A
controller that decides in two stages returns the sum of its stages' log-probabilities, so all its parts are trained
together by one reward. Rewards are looked up in the profile; no model runs.

Objective "grpo" is Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300): for each (sample, budget) a
group of configurations is drawn from the policy, and a draw's advantage is its reward compared with the group's. It
departs from the paper in these points:
- An answer is one action (a configuration), so there is no average over tokens.
- The advantage is divided by the group's standard deviation + ADVANTAGE_FLOOR, the worth of one right answer. Without
  it, a group whose draws are all right and differ by a millisecond weighs as much as one that tells right from wrong,
  and the policy ends up too cheap: 5 % of the reward was lost on a synthetic profile, 0.6 % with it.
- The reference of the KL term is the table's policy, from which training starts, and the term is computed over the
  whole grid instead of estimated from the draws.
- An entropy bonus, which falls linearly to zero, keeps the policy from settling early.
- A group serves UPDATES_PER_DRAW optimiser steps; clipping acts from the second on.

Objective "exact" uses that every reward is known: it ascends the expected reward itself, sum of probability * reward
over the grid, with the same KL term and entropy bonus. There is nothing to draw, and nothing to clip.

Objective "supervised" is the baseline: cross-entropy to the configuration that earns most on each (sample, budget). It
learns which configuration is best most often, not which loses least when it is not the best.

All three stop early: a part of the images is held out, the policy's own choices (not draws) are scored there at fixed
budgets, and the weights with the best score are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn

from adamolmo.controllers.training.reward import Profile
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobGrid
from adamolmo.progress import progress

if TYPE_CHECKING:
    from adamolmo.config.training import TrainingSettings

LogProbs = Callable[[Tensor, Tensor], Tensor]

# A prompt's features are costly to read and a budget is not: each sample of a batch is used with this many budgets.
BUDGETS_PER_SAMPLE = 4
HELD_OUT_BUDGETS = 6
HELD_OUT_CHUNK = 64
UPDATES_PER_DRAW = 2
ADVANTAGE_FLOOR = 1.0
MAX_GRADIENT_NORM = 1.0
WARMUP_FRACTION = 0.05
STEPS_PER_ROW = 20


@dataclass(frozen=True)
class Batch:
    """Attributes:
    rows: of the profile, [samples].
    budget_ms: [samples, BUDGETS_PER_SAMPLE].
    rewards: of every configuration, [samples, BUDGETS_PER_SAMPLE, configurations].
    """

    rows: Tensor
    budget_ms: Tensor
    rewards: Tensor


@dataclass(frozen=True)
class Groups:
    """One group of draws per sample and budget.

    Attributes:
        drawn: configurations, [samples, budgets, group_size].
        advantages: [samples, budgets, group_size].
        drawn_by: log-probabilities of the policy that drew them, [samples, budgets, configurations].
    """

    drawn: Tensor
    advantages: Tensor
    drawn_by: Tensor


@dataclass(frozen=True)
class Split:
    """Rows of the profile to learn from, and rows of other images to stop by."""

    learned: Tensor
    held_out: Tensor

    @classmethod
    def by_image(cls, images: Sequence, held_out: float, seed: int) -> Split:
        """`held_out` is the share of the images. Raises AdaMolmoError when one of the two parts would be empty."""
        names = sorted(set(images))
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
        kept_out = {names[index] for index in order[: round(held_out * len(names))]}
        if not 0 < len(kept_out) < len(names):
            raise AdaMolmoError(
                f"training.held_out is {held_out:g} and the profile has {len(names)} images; "
                "expected at least one image to learn from and one to hold out."
            )
        is_held_out = torch.tensor([image in kept_out for image in images])
        return cls((~is_held_out).nonzero()[:, 0], is_held_out.nonzero()[:, 0])


def train(
    policy: nn.Module,
    log_probs: LogProbs,
    reference: LogProbs,
    profile: Profile,
    split: Split,
    grid: KnobGrid,
    settings: TrainingSettings,
    seed: int,
    description: str,
) -> pd.DataFrame:
    """Trains in place and leaves the weights that were best on the held-out rows; returns the training log.

    A row of the log holds means over the STEPS_PER_ROW steps before it, in expectation under the policy, and the
    outcome of the policy's choices on the held-out rows after it.

    Args:
        log_probs: rows of the profile [samples] and budgets in ms [samples, budgets] -> log-probabilities
            [samples, budgets, configurations], on the CPU.
        reference: likewise logits of the policy that the KL term refers to.
        description: what the progress report calls this training.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step / settings.steps))
    log, since_last, groups, batch = [], [], None, None
    best_reward, best_weights, rows_since_best = -float("inf"), None, 0
    for step in progress(range(1, settings.steps + 1), f"{description}, steps", settings.steps):
        fresh = settings.objective != "grpo" or step % UPDATES_PER_DRAW == 1
        if fresh:
            batch = draw_batch(profile, split.learned, settings, generator)
        policy.train()
        current = log_probs(batch.rows, batch.budget_ms)  # [samples, budgets, configurations]
        kl = divergence(current, reference(batch.rows, batch.budget_ms).log_softmax(dim=-1))
        if settings.objective == "exact":
            gain = (current.exp() * batch.rewards).sum(dim=-1)  # [samples, budgets]
        elif settings.objective == "supervised":
            gain = current.gather(-1, batch.rewards.argmax(dim=-1, keepdim=True))
        else:
            if fresh:
                groups = draw_groups(current.detach(), batch.rewards, settings.group_size, generator)
            gain = clipped_gain(current, groups, settings.clip)
        spread = entropy(current)
        entropy_weight = settings.entropy * (1 - step / settings.steps)
        loss = -(gain.mean() + entropy_weight * spread.mean() - settings.kl * kl.mean())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        since_last.append(_expectations(current.detach(), batch, profile, kl, spread))
        if step % STEPS_PER_ROW and step < settings.steps:
            continue
        policy.eval()
        held_out = score_choices(log_probs, profile, split.held_out, grid, settings)
        log.append({"step": step, **pd.DataFrame(since_last).mean(), **held_out})
        since_last, rows_since_best = [], rows_since_best + 1
        if held_out["held_out_reward"] > best_reward:
            best_reward, rows_since_best = held_out["held_out_reward"], 0
            best_weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        if rows_since_best >= settings.patience:
            break
    policy.load_state_dict(best_weights)
    policy.eval()
    return pd.DataFrame(log)


def draw_batch(profile: Profile, rows: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Batch:
    """`batch_size` pairs (rounded up): samples from `rows` with replacement, budgets uniformly from their range."""
    chosen = torch.randint(len(rows), (-(-settings.batch_size // BUDGETS_PER_SAMPLE),), generator=generator)
    rows = rows[chosen]
    lowest, highest = profile.budget_ms[rows].unsqueeze(1).unbind(dim=-1)  # each [samples, 1]
    budget_ms = lowest + torch.rand(len(rows), BUDGETS_PER_SAMPLE, generator=generator) * (highest - lowest)
    return Batch(rows, budget_ms, profile.reward(rows, budget_ms, settings.reward))


def draw_groups(log_probs: Tensor, rewards: Tensor, group_size: int, generator: torch.Generator) -> Groups:
    probabilities = log_probs.exp().flatten(0, 1)  # [samples * budgets, configurations]
    drawn = torch.multinomial(probabilities, group_size, replacement=True, generator=generator)
    drawn = drawn.unflatten(0, log_probs.shape[:2])  # [samples, budgets, group_size]
    earned = rewards.gather(-1, drawn)  # [samples, budgets, group_size]
    centred = earned - earned.mean(dim=-1, keepdim=True)
    return Groups(drawn, centred / (earned.std(dim=-1, keepdim=True) + ADVANTAGE_FLOOR), log_probs)


def clipped_gain(current: Tensor, groups: Groups, clip: float) -> Tensor:
    """The clipped surrogate of PPO (arXiv 1707.06347), mean over the group: [samples, budgets]."""
    now, then = (log_probs.gather(-1, groups.drawn) for log_probs in (current, groups.drawn_by))
    ratio = (now - then).exp()  # [samples, budgets, group_size]
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * groups.advantages, clipped * groups.advantages).mean(dim=-1)


def divergence(current: Tensor, reference: Tensor) -> Tensor:
    """KL(current || reference) over the grid, [samples, budgets]."""
    return (current.exp() * (current - reference)).sum(dim=-1)


def entropy(log_probs: Tensor) -> Tensor:
    """In nats, [samples, budgets]."""
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def choices(log_probs: Tensor, grid: KnobGrid) -> Tensor:
    """What a controller with these probabilities chooses: [..., configurations] -> index of a configuration [...].

    The most probable tier, and at that tier the most probable top_k and blocks, as at the two stages of a request.
    """
    by_tier = log_probs.unflatten(-1, (len(grid.tiers), -1))  # [..., tiers, configurations of a tier]
    tier = by_tier.logsumexp(dim=-1).argmax(dim=-1)  # [...]
    rest = by_tier.argmax(dim=-1).gather(-1, tier[..., None])[..., 0]  # [...]
    return tier * by_tier.shape[-1] + rest


@torch.no_grad()
def score_choices(
    log_probs: LogProbs, profile: Profile, rows: Tensor, grid: KnobGrid, settings: TrainingSettings
) -> dict[str, float]:
    """Mean reward, accuracy and violation rate of the choices on `rows` at HELD_OUT_BUDGETS budgets over the range."""
    steps = torch.linspace(0, 1, HELD_OUT_BUDGETS)
    sums = torch.zeros(3)
    for part in rows.split(HELD_OUT_CHUNK):
        lowest, highest = profile.budget_ms[part].unsqueeze(1).unbind(dim=-1)
        budget_ms = lowest + steps * (highest - lowest)  # [samples, HELD_OUT_BUDGETS]
        chosen = choices(log_probs(part, budget_ms), grid)[..., None]  # [samples, HELD_OUT_BUDGETS, 1]
        values = _per_config(profile, part, budget_ms, profile.reward(part, budget_ms, settings.reward))
        sums += torch.stack([value.expand(*budget_ms.shape, -1).gather(-1, chosen).sum() for value in values.values()])
    means = sums / (len(rows) * HELD_OUT_BUDGETS)
    return {f"held_out_{name}": mean for name, mean in zip(values, means.tolist(), strict=True)}


def _learning_rate_factor(done: float) -> float:
    """Linear warm-up, then linear decay to zero."""
    return min(1.0, done / WARMUP_FRACTION + 0.1) * (1 - done)


def _per_config(profile: Profile, rows: Tensor, budget_ms: Tensor, rewards: Tensor) -> dict[str, Tensor]:
    missed = (profile.latency_ms[rows, None] > budget_ms[..., None]).float()  # [samples, budgets, configurations]
    return {"reward": rewards, "accuracy": profile.accuracy[rows, None], "violation_rate": missed}


def _expectations(log_probs: Tensor, batch: Batch, profile: Profile, kl: Tensor, spread: Tensor) -> dict[str, float]:
    probabilities = log_probs.exp()
    values = _per_config(profile, batch.rows, batch.budget_ms, batch.rewards)
    means = {name: (probabilities * value).sum(dim=-1).mean().item() for name, value in values.items()}
    return {**means, "kl": kl.mean().item(), "entropy": spread.mean().item()}
