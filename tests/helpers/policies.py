"""What the tests of learned controllers train on: a made-up profile of the tiny samples, and their real features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from made_documents import ORIGIN

from adamolmo.config.training import MobileViTSettings, RewardSettings, TrainingSettings
from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.modules import find_design, load_controller
from adamolmo.controllers.registry import find_controller
from adamolmo.controllers.table import EXPECTED_LATENCY, Entry, LookupTable, save_table, table_path
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.features import Features, make_features
from adamolmo.controllers.training.reward import COLUMNS, Profile
from adamolmo.controllers.training.table_prior import ProfilePrior
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.files.documents import write_json
from adamolmo.files.policy import Fingerprint, LearnedArchitecture, LearnedCard
from adamolmo.inference.controller import Controller, Limit
from adamolmo.knobs import KnobConfig, KnobGrid
from adamolmo.model.budget_prefix import FixedPrefix

GRID = KnobGrid(("low", "high"), (2, 3, 4), (5, 6, 7))
FINGERPRINT = Fingerprint(
    grid=GRID,
    model_checksum="checksum",
    fixed_prefix_layers=3,
    clock="measured",
    device={"name": "a core", "cores": 2},
)
LATENCY_MS = np.array([10, 11, 12, 11, 12, 13, 12, 13, 14, 18, 20, 22, 20, 22, 24, 22, 24, 27.0])
EXPECTED = {"okvqa": ExpectedLatency(np.repeat([0, 1], 9), LATENCY_MS, np.zeros(18), np.zeros(18))}
SIZE = (2, 30)  # crops and tokens of every sample
BUDGETS_MS = {"okvqa": (11.0, 36.0)}
MOBILEVIT = {"checkpoint": None, "width": 0.1}
ARCHITECTURE = LearnedArchitecture(d_model=16, overview_dim=64, mobilevit=MOBILEVIT)


def settings(**changes) -> TrainingSettings:
    values = {
        "objective": "grpo",
        "budgets": ["35pct", "110pct"],
        "held_out": 0.2,
        "patience": 100,
        "steps": 300,
        "batch_size": 64,
        "group_size": 16,
        "learning_rate": 3e-3,
        "clip": 0.2,
        "kl": 0.01,
        "entropy": 0.01,
        "prior_temperature": 0.02,
        "reward": RewardSettings(beta=0.5, gamma=10.0, delta=0.0, epsilon=0.0),
        "mobilevit": MobileViTSettings(**MOBILEVIT),
    }
    return TrainingSettings(**values | changes)


def tiny_prefix(tiny_model) -> FixedPrefix:
    prefix = FixedPrefix(tiny_model.config)
    weights = {name.removeprefix("transformer."): t for name, t in tiny_model.state_dict().items()}
    prefix.load_state_dict({name: weights[name] for name in prefix.state_dict()})
    return prefix.requires_grad_(False)


def tiny_features(tiny_engine, tiny_samples, directory) -> dict[str, Features]:
    path = directory / "features" / "okvqa.safetensors"
    make_features(tiny_engine, Questions(tiny_samples, "tiny", vqa_score), "okvqa", 5, "checksum", path)
    return {"okvqa": Features(path)}


def with_twins(samples) -> list:
    """Every sample twice, as if of another image: what is learned of one is right for its held-out twin."""
    return [*samples, *(replace(s, sample_id=f"t{s.sample_id}", image_id=f"t{s.image_id}") for s in samples)]


def policy_card(name, architecture, fingerprint=FINGERPRINT, scale_ms=27.0) -> LearnedCard:
    """Of an untrained policy."""
    training = {"settings": settings().model_dump(), "overhead_ms": dict.fromkeys(GRID.tiers, 0.0)}
    return LearnedCard(
        controller=name, fingerprint=fingerprint, architecture=architecture, scale_ms=scale_ms, training=training
    )


def context(directory) -> ControllerContext:
    """What is looked up of the dataset is that of `dearer_is_better`, unless it was written before."""
    if not (directory / "lookup").exists():
        write_lookup(directory, [dearer_is_better(0, config) for config in GRID.configs])
    return ControllerContext(FINGERPRINT, directory, "okvqa", 0.05, False, "cpu", "float32")


def load_named(name, context) -> Controller:
    """A controller of the library, as a job loads it."""
    return load_controller(name, find_controller(name, {}).module, context)


def design_of(name) -> Design | None:
    return find_design(name, find_controller(name, {}).module)


def write_lookup(directory, accuracy, dataset="okvqa") -> None:
    """What controllers look up of a dataset: these mean accuracies [configurations], and LATENCY_MS for every size."""
    entries = [Entry(c, float(a), float(ms), 9) for c, a, ms in zip(GRID.configs, accuracy, LATENCY_MS, strict=True)]
    write_tables(directory, LookupTable(entries), EXPECTED["okvqa"], GRID, dataset)


def write_tables(directory, table, expected, grid, dataset="okvqa") -> None:
    for name in ("mean", EXPECTED_LATENCY):
        (directory / table_path(name, dataset)).parent.mkdir(parents=True, exist_ok=True)
    save_table(table, ORIGIN, directory / table_path("mean", dataset))
    document = expected_latency.as_document(expected, grid, 0.0, {"clock": "measured", "device": {}})
    write_json(document, directory / table_path(EXPECTED_LATENCY, dataset))


def core_exp(samples, accuracy) -> pd.DataFrame:
    """`accuracy(sample index, config)`; latency is the same for all samples."""
    rows = [
        ("okvqa", s.sample_id, s.image_id, c.tier, c.top_k, c.num_active_blocks, accuracy(index, c), ms, ms, *SIZE)
        for index, s in enumerate(samples)
        for c, ms in zip(GRID.configs, LATENCY_MS, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def dearer_is_better(_, config) -> float:
    return 0.4 * (config.tier == "high") + 0.08 * config.top_k + 0.03 * config.num_active_blocks - 0.16


def training_set(samples, accuracy, features, prefix) -> TrainingSet:
    profile = Profile.from_frame(core_exp(samples, accuracy), GRID, BUDGETS_MS, EXPECTED)
    return TrainingSet.join(FINGERPRINT, profile, features, EXPECTED, prefix)


def run_training(module, directory, name, data, seed=0, added_ms=0.0, **changes) -> pd.DataFrame:
    """The training log; the policy is where `context(directory)` looks for it."""
    target = directory / "controllers" / name
    write_lookup(directory, data.profile.accuracy.double().mean(dim=0).tolist())
    by_tier = dict.fromkeys(GRID.tiers, added_ms)
    return module.train(name, target, data, lambda controller: by_tier, settings(**changes), seed)


def prior_logits(data, budgets_ms) -> torch.Tensor:
    """Of the first ten samples at these budgets, as `context` lets a controller find them."""
    prior = ProfilePrior.of(data.profile, torch.arange(len(data.profile.samples)), settings())
    return prior(torch.arange(10), torch.tensor(budgets_ms).expand(10, -1))


def learned_rows(data: TrainingSet, seed: int = 0) -> list[int]:
    """The samples that training with this seed learns from, not the held-out ones."""
    return grpo.Split.by_image(data.profile.images, settings().held_out, seed).learned.tolist()


def judged_rows(data: TrainingSet, seed: int = 0) -> list[int]:
    """The samples that choose this seed's weights, the held-out ones, and their learned twins: what training is sure
    to get right if it can. Of other learned samples the best weights on these few may know one late or never."""
    num_samples = len(data.profile.images) // 2
    held_out = grpo.Split.by_image(data.profile.images, settings().held_out, seed).held_out
    return sorted({twin for row in held_out.tolist() for twin in (row % num_samples, row % num_samples + num_samples)})


def ask(engine, sample, controller, budget_ms):
    return engine.answer(sample.open_image(), sample.question, "tiny", controller, Limit(budget_ms)).config


def rewards_at(budget_ms: float, accuracy: np.ndarray) -> np.ndarray:
    """The reward with default weights, by hand."""
    over = LATENCY_MS / budget_ms - 1
    return accuracy - 0.5 / (1 + np.exp(-10 * over)) - 10 * np.maximum(over, 0) ** 2


def choices_when_dearer_is_better(engine, samples, controller) -> tuple[float, list[KnobConfig]]:
    """The share of the best reward that the choices at several budgets miss, and the choices."""
    accuracy = np.array([dearer_is_better(0, config) for config in GRID.configs])
    lost, best_of_all, choices = [], [], []
    for budget_ms in (12, 15, 20, 25, 30, 35):
        rewards = rewards_at(budget_ms, accuracy)
        for sample in samples:
            choices.append(ask(engine, sample, controller, budget_ms))
            lost.append(rewards.max() - rewards[GRID.configs.index(choices[-1])])
            best_of_all.append(rewards.max())
    return np.mean(lost) / np.mean(best_of_all), choices
