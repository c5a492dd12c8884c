"""What all learned controllers share: a policy network is trained on the profile, saved, loaded and asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from adamolmo.config.training import TrainingSettings
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.lookup_sized import load_dataset
from adamolmo.controllers.policy_file import CARD, load_card, load_weights, save_policy
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.budget_code import BudgetCode
from adamolmo.controllers.training.table_prior import ProfilePrior, RequestPrior
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.errors import AdaMolmoError
from adamolmo.faults import sentence
from adamolmo.files.policy import Fingerprint, LearnedArchitecture, LearnedCard, MobileViT, of_configs
from adamolmo.inference.controller import Controller
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from pandas import DataFrame

KEPT_BUDGETS = 1024  # that a controller has encoded: governors tell another one at most requests, of some hundred


class Policy(nn.Module, ABC):
    """All that is trained of a controller. Budgets are relative: budget / scale_ms."""

    def __init__(self, grid: KnobGrid):
        super().__init__()
        self.grid = grid
        self.code = BudgetCode()

    def fit(self, data: TrainingSet, rows: Tensor) -> None:
        """Before training: whatever follows from the rows to learn from without gradients, such as scales."""

    @abstractmethod
    def log_probs(self, data: TrainingSet, rows: Tensor, budget: Tensor, prior: Tensor) -> Tensor:
        """Log-probabilities of all configurations in the order of the grid, [samples, budgets, configurations].

        Args:
            rows: of `data`, [samples].
            budget: relative budgets to decide for, [samples, budgets].
            prior: logits of the table's policy, [samples, budgets, configurations].
        """


class LearnedController(Controller):
    """The most probable choice of a trained policy."""

    def __init__(
        self, name: str, policy: Policy, card: LearnedCard, prior: RequestPrior, device: str, dtype: torch.dtype
    ):
        self.name = name
        self.prior = prior
        self.grid = card.fingerprint.grid
        self.scale_ms = card.scale_ms
        self.policy = policy.to(device).eval()
        self.device, self.dtype = device, dtype

    def _budget(self, budget_ms: float) -> Tensor:
        """Relative, [1]."""
        return torch.tensor([budget_ms / self.scale_ms], device=self.device)


Build = Callable[[str, LearnedArchitecture, KnobGrid], Policy]
MakeController = Callable[[str, Policy, LearnedCard, RequestPrior, str, torch.dtype], LearnedController]
OverheadMs = Callable[[Controller], dict[str, float]]  # by vision tier


def load_learned(name: str, context: ControllerContext, build: Build, make: MakeController) -> LearnedController:
    """Raises AdaMolmoError when a file is unusable or the policy was trained for another study."""
    policy, card = load_policy(context.results / "controllers" / name, context.fingerprint, build)
    settings = _training_settings(card, context.results / "controllers" / name / CARD)
    prior = RequestPrior(*load_dataset(context), settings, card.overheads_ms)
    return make(name, policy, card, prior, context.torch_device, getattr(torch, context.dtype))


def _training_settings(card: LearnedCard, path: Path) -> TrainingSettings:
    """Raises AdaMolmoError when these are none."""
    try:
        return TrainingSettings.model_validate(card.training.get("settings"))
    except ValidationError as error:
        raise AdaMolmoError(sentence(error, TrainingSettings, lambda _: f"{path}: training.settings")) from error


def load_policy(directory: Path, fingerprint: Fingerprint, build: Build) -> tuple[Policy, LearnedCard]:
    """Raises AdaMolmoError when the policy's files are unusable or it was trained for another study."""
    card = load_card(directory, fingerprint, LearnedCard)
    return load_weights(directory, lambda: build(card.controller, card.architecture, card.fingerprint.grid)), card


def train_learned(
    name: str,
    directory: Path,
    data: TrainingSet,
    overhead_ms: OverheadMs,
    settings: TrainingSettings,
    seed: int,
    build: Build,
    make: MakeController,
) -> DataFrame:
    """Trains a new policy, writes it to `directory` and returns the training log.

    Args:
        overhead_ms: what a controller adds to a request's latency; the profile's latencies know nothing of it.
    """
    scale_ms = data.profile.latency_ms[:, -1].median().item()
    architecture = LearnedArchitecture(**data.sizes, mobilevit=MobileViT(**settings.mobilevit.model_dump()))
    split = grpo.Split.by_image(data.profile.images, settings.held_out, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = build(name, architecture, data.fingerprint.grid).to(data.device)
        policy.fit(data, split.learned)
    card = LearnedCard(
        controller=name, fingerprint=data.fingerprint, architecture=architecture, scale_ms=scale_ms, training={}
    )
    of_requests = request_prior(data, settings)
    added_ms = overhead_ms(make(name, policy, card, of_requests, str(data.device), data.prefix.dtype))
    profile = data.profile.slower(of_configs(added_ms, data.fingerprint.grid))
    prior = ProfilePrior.of(profile, split.learned, settings)
    log_probs = with_prior(policy, data, prior, scale_ms)
    log = grpo.train(policy, log_probs, prior, profile, split, data.fingerprint.grid, settings, seed, name)
    training = {
        "settings": settings.model_dump(),
        "seed": seed,
        "num_learned": len(split.learned),
        "num_held_out": len(split.held_out),
        "steps": int(log["step"].iloc[-1]),
        "held_out_reward": float(log["held_out_reward"].max()),
        "overhead_ms": added_ms,
    }
    save_policy(directory, policy, card.model_copy(update={"training": training}))
    return log


def with_prior(policy: Policy, data: TrainingSet, prior: ProfilePrior, scale_ms: float) -> grpo.LogProbs:
    """The policy as training and scoring see it: rows and budgets in ms -> log-probabilities, on the CPU."""

    def log_probs(rows: Tensor, budget_ms: Tensor) -> Tensor:
        logits = prior(rows, budget_ms).to(data.device)
        return policy.log_probs(data, rows, budget_ms.to(data.device) / scale_ms, logits).cpu()

    return log_probs


def request_prior(data: TrainingSet, settings: TrainingSettings) -> RequestPrior:
    """As of a request of the first dataset, for measuring how long decisions take."""
    table = data.profile.table(torch.arange(len(data.profile.samples)))[0]
    return RequestPrior(table.double().numpy(), data.expected[data.profile.datasets[0]], settings, [0.0])


class Standardise(nn.Module):
    """Features [..., dim] with zero mean and unit variance over the samples that `fit` was given."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, samples: Tensor) -> None:
        """[samples, dim]. A feature that never varies is only centred."""
        spread = samples.std(dim=0, correction=0)
        self.mean.copy_(samples.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class Gelu(nn.GELU):
    """GELU in its tanh form (arXiv 1606.08415): for the few values of one request, PyTorch's exact form takes 5 times
    as long on a CPU."""

    def __init__(self):
        super().__init__(approximate="tanh")


def undecided(width: int, choices: int) -> nn.Linear:
    """A head that starts with equal logits, so that training begins by trying everything."""
    head = nn.Linear(width, choices)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
