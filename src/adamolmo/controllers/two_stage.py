"""Controllers that decide twice: the tier before vision, top_k and blocks after the fixed prefix.

Stage 2 is the latency token of AdaLLaVA (arXiv 2503.10905) with the prefix computed once: the budget becomes one more
prompt position that no other position sees, passes the fixed prefix, and its state there decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adamolmo.controllers import grpo
from adamolmo.controllers.base import Controller, ControllerContext, KnobGrid, Stage1Inputs, Study
from adamolmo.controllers.budget import CODE_SIZE, BudgetCode, BudgetEncoder
from adamolmo.controllers.features import Features, FixedPrefix, stack_prompts
from adamolmo.controllers.policy import PolicyCard, load_card, load_weights, save_policy
from adamolmo.controllers.reward import Profile
from adamolmo.errors import AdaMolmoError

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config import TrainingSettings

TIER_HIDDEN = 32
SCHEDULER_HIDDEN = 128


class TierPolicy(nn.Module):
    """Stage 1: budget code [..., 256] -> logits of the tiers [..., tiers]; about 10 k parameters."""

    def __init__(self, grid: KnobGrid):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(CODE_SIZE, TIER_HIDDEN), nn.GELU(), nn.Linear(TIER_HIDDEN, TIER_HIDDEN), nn.GELU()
        )
        self.head = undecided(TIER_HIDDEN, len(grid.tiers))

    def forward(self, code: Tensor) -> Tensor:
        return self.head(self.body(code))


class Scheduler(nn.Module):
    """Stage 2: the budget token's state and the tier -> logits of top_k and of the number of blocks."""

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.of_state = nn.Linear(d_model, SCHEDULER_HIDDEN)
        self.of_tier = nn.Embedding(len(grid.tiers), SCHEDULER_HIDDEN)
        self.top_k = undecided(SCHEDULER_HIDDEN, len(grid.top_k))
        self.num_active_blocks = undecided(SCHEDULER_HIDDEN, len(grid.num_active_blocks))

    def forward(self, state: Tensor, tier: Tensor) -> tuple[Tensor, Tensor]:
        """[..., d_model] and the tier's index, [...] or one for all -> [..., top_k values], [..., block counts]."""
        hidden = nn.functional.gelu(self.of_state(self.norm(state)) + self.of_tier(tier))
        return self.top_k(hidden), self.num_active_blocks(hidden)


def undecided(width: int, choices: int) -> nn.Linear:
    """A head that starts with equal logits, so that training begins by trying everything."""
    head = nn.Linear(width, choices)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class TwoStagePolicy(nn.Module):
    """All that is trained. Budgets are relative: budget / scale_ms."""

    def __init__(self, d_model: int, grid: KnobGrid):
        super().__init__()
        self.code = BudgetCode()
        self.tier = TierPolicy(grid)
        self.encoder = BudgetEncoder(d_model)
        self.scheduler = Scheduler(d_model, grid)

    def log_probs(self, prefix: FixedPrefix, prompts: list[Tensor], budget: Tensor) -> Tensor:
        """Log-probabilities of all configurations in the order of the grid, [samples, budgets, configurations].

        Args:
            prompts: stored entries of all samples' prompts at the first tier, then at the second, and so on.
            budget: relative budgets to decide for, [samples, budgets].
        """
        weight = prefix.blocks[0].attn.att_proj.weight
        code = self.code(budget)
        of_tier = self.tier(code).log_softmax(dim=-1).movedim(-1, 0)  # [tiers, samples, budgets]
        tokens = self.encoder(code).to(weight.dtype).expand(len(of_tier), -1, -1, -1)
        states = prefix(tokens.flatten(0, 1), *stack_prompts(prompts, weight.dtype, weight.device)).float()
        tiers = torch.arange(len(of_tier), device=states.device)[:, None, None]
        heads = self.scheduler(states.view(tokens.shape), tiers)
        top_k, blocks = (logits.log_softmax(dim=-1) for logits in heads)
        of_config = of_tier[..., None, None] + top_k[..., :, None] + blocks[..., None, :]
        return of_config.movedim(0, 2).flatten(2)


class TwoStageController(Controller):
    """The most probable choice of a trained policy at each stage."""

    def __init__(self, name: str, policy: TwoStagePolicy, card: PolicyCard, device: str, dtype: torch.dtype):
        self.name = name
        self.grid = card.study.grid
        self.scale_ms = card.scale_ms
        self.policy = policy.to(device)
        self.device, self.dtype = device, dtype

    def _code(self, budget_ms: float) -> Tensor:
        return self.policy.code(torch.tensor([budget_ms / self.scale_ms], device=self.device))

    @torch.inference_mode()
    def predict_stage1(self, inputs: Stage1Inputs) -> str:
        return self.grid.tiers[self.policy.tier(self._code(inputs.budget_ms)).argmax().item()]

    @torch.inference_mode()
    def budget_token(self, budget_ms: float) -> Tensor:
        return self.policy.encoder(self._code(budget_ms)).to(self.dtype)

    @torch.inference_mode()
    def predict_stage2(self, budget_ms: float, tier: str, budget_state: Tensor) -> tuple[int, int]:
        index = torch.tensor([self.grid.tiers.index(tier)], device=self.device)
        heads = self.policy.scheduler(budget_state.float(), index)
        top_k, blocks = torch.stack([logits.argmax() for logits in heads]).tolist()
        return self.grid.top_k[top_k], self.grid.num_active_blocks[blocks]


def load(name: str, context: ControllerContext) -> TwoStageController:
    """Raises AdaMolmoError when the policy's files are unusable or it was trained for another study."""
    directory = context.results / "controllers" / name
    card = load_card(directory, context.study)
    policy = TwoStagePolicy(card.d_model, card.study.grid)
    load_weights(directory, policy)
    return TwoStageController(name, policy, card, context.torch_device, getattr(torch, context.dtype))


def train(
    name: str,
    directory: Path,
    study: Study,
    core_exp: DataFrame,
    budgets_ms: Mapping[str, tuple[float, float]],
    features: Mapping[str, Features],
    prefix: FixedPrefix,
    settings: TrainingSettings,
    seed: int,
) -> DataFrame:
    """Trains on the profiled samples that have features, writes the policy to `directory`, returns the training log.

    Args:
        core_exp: rows of all datasets.
        budgets_ms: lowest and highest budget to train for, by dataset.
        features: by dataset.
        prefix: of the model that the features were made with; its device and dtype are used.

    Raises:
        AdaMolmoError: the profile has another grid, the features belong to another model, or no sample has both.
    """
    profile = Profile.from_frame(core_exp, study.grid, budgets_ms)
    positions = _positions(features, study)
    profile = profile.take([row for row, sample in enumerate(profile.samples) if sample in positions])
    if not profile.samples:
        raise AdaMolmoError(f"no profiled sample of {', '.join(budgets_ms)} has features; make the features again.")
    device = prefix.rotary.frequencies.device
    scale_ms = profile.latency_ms[:, -1].median().item()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = TwoStagePolicy(prefix.config.d_model, study.grid)
    policy.to(device)

    def log_probs(rows: Tensor, budget_ms: Tensor) -> Tensor:
        wanted = [(profile.samples[row][0], positions[profile.samples[row]]) for row in rows.tolist()]
        tiers = range(len(study.grid.tiers))
        prompts = [features[dataset].prompt(sample, tier) for tier in tiers for dataset, sample in wanted]
        return policy.log_probs(prefix, prompts, budget_ms.to(device) / scale_ms).cpu()

    log = grpo.train(log_probs, policy.parameters(), profile, settings, seed, name)
    training = {"settings": settings.model_dump(), "seed": seed, "num_samples": len(profile.samples)}
    save_policy(directory, policy, PolicyCard(name, study, prefix.config.d_model, scale_ms, training))
    return log


def _positions(features: Mapping[str, Features], study: Study) -> dict[tuple[str, str], int]:
    """Where each (dataset, sample_id) stands in its dataset's features."""
    for dataset, stored in features.items():
        for field, wanted in (
            ("model_checksum", study.model_checksum),
            ("fixed_prefix_layers", study.fixed_prefix_layers),
            ("tiers", study.grid.tiers),
        ):
            if (found := getattr(stored.info, field)) != wanted:
                raise AdaMolmoError(
                    f"features of {dataset}: made for {field} '{found}'; this study has '{wanted}', make them again."
                )
    return {
        (dataset, sample_id): position
        for dataset, stored in features.items()
        for position, sample_id in enumerate(stored.info.sample_ids)
    }
