"""What a study learns about a model: gradients are finite differences, through the model's fixed prefix where a policy
reads it, and what only the image tells is learned.
"""

import io
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from asking import PREFIX, Model, engine_of, samples_of
from PIL import Image
from policies import FINGERPRINT, settings, with_twins, write_tables
from requests_of import QUESTION
from torch import Tensor, nn

from adamolmo.backend.loading import load_budget_prefix
from adamolmo.controllers import predict, two_stage
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.predict import features_of
from adamolmo.controllers.table import Entry, LookupTable
from adamolmo.controllers.training.features import Features, make_features
from adamolmo.controllers.training.outcome_model import corrected, loss
from adamolmo.controllers.training.outcome_networks import OutcomeNetworks
from adamolmo.controllers.training.reward import COLUMNS, Profile
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.controllers.two_stage import TwoStagePolicy
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.data.samples import Questions, Sample
from adamolmo.data.scoring import SCORERS
from adamolmo.files.policy import LearnedArchitecture, MobileViT
from adamolmo.inference.controller import Limit
from adamolmo.knobs import KnobConfig, KnobGrid

FULL_MS = 30.0


def learned_from(model: Model, samples: list[Sample], right: Callable, directory) -> TrainingSet:
    """The samples with their features, and a made-up profile: `right(number of the sample, configuration)`."""
    backend = model.backend
    grid = KnobGrid(backend.tiers, (1, backend.sizes.top_k), (PREFIX + 1, backend.sizes.num_layers))
    path = directory / "okvqa.safetensors"
    make_features(engine_of(backend), Questions(samples, None, SCORERS["vqa"]), "okvqa", 4, "checksum", path)
    latency_ms = np.linspace(10, FULL_MS, len(grid.configs))
    tier = np.repeat(np.arange(len(grid.tiers)), len(grid.configs) // len(grid.tiers))
    expected = {"okvqa": ExpectedLatency(tier, latency_ms, 0 * latency_ms, 0 * latency_ms)}
    rows = [
        ("okvqa", s.sample_id, s.image_id, c.tier, c.top_k, c.num_active_blocks, right(number, c), ms, ms, 2, 30)
        for number, s in enumerate(samples)
        for c, ms in zip(grid.configs, latency_ms, strict=True)
    ]
    profile = Profile.from_frame(pd.DataFrame(rows, columns=COLUMNS), grid, {"okvqa": (20.0, 40.0)}, expected)
    prefix = load_budget_prefix(model.prepared, PREFIX, torch.float32, "cpu")
    fingerprint = FINGERPRINT.model_copy(update={"grid": grid, "fixed_prefix_layers": PREFIX})
    return TrainingSet.join(fingerprint, profile, {"okvqa": Features(path)}, expected, prefix)


def error(total: Callable[[], Tensor], parameters: Iterable[nn.Parameter], step: float) -> float:
    """Of the gradient against central differences, relative, along a random half of its entries."""
    parameters, generator = list(parameters), torch.Generator().manual_seed(0)
    slopes = torch.autograd.grad(total(), parameters)
    assert all(slope.abs().sum() > 0 for slope in slopes)
    half = [slope * (torch.rand(slope.shape, generator=generator) < 0.5) for slope in slopes]
    length = sum(part.square().sum() for part in half).sqrt().item()

    def total_at(distance: float) -> float:
        with torch.no_grad():
            for parameter, part in zip(parameters, half, strict=True):
                parameter.add_(part, alpha=distance / length)
            value = total().item()
            for parameter, part in zip(parameters, half, strict=True):
                parameter.sub_(part, alpha=distance / length)
        return value

    return abs((total_at(step) - total_at(-step)) / (2 * step * length) - 1)


def unsettled(network: nn.Module) -> nn.Module:
    """Heads start at zero, from where no gradient reaches what is before them."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return network


def half_right(number: int, config: KnobConfig) -> float:
    """Every other sample is right with all experts only, the others with one; a pair of twins is alike."""
    return float((config.top_k == 1) == bool(number % 2))


def test_gradients_of_a_two_stage_policy_are_finite_differences(model, pictures, tmp_path):
    data = learned_from(model, samples_of(pictures), half_right, tmp_path)
    architecture = LearnedArchitecture(**data.sizes, mobilevit=MobileViT(checkpoint=None, width=0.1))
    policy = unsettled(TwoStagePolicy("two-stage-language", architecture, data.fingerprint.grid))
    policy.fit(data, torch.arange(len(data.profile.samples)))

    def earned(row: int) -> Tensor:
        rows, budget_ms = torch.tensor([row]), torch.tensor([[15.0, 30.0]])
        rewards = data.profile.reward(rows, budget_ms, settings().reward)  # [1, budgets, configurations]
        log_probs = policy.log_probs(data, rows, budget_ms / FULL_MS, torch.zeros_like(rewards))
        return (log_probs.exp() * rewards).double().sum()

    through_the_model, beside_it = policy.encoder, nn.ModuleList([policy.tier, policy.scheduler])
    for part in (through_the_model, beside_it):
        found = [error(partial(earned, row), part.parameters(), 1e-4) for row in range(len(data.profile.samples))]
        assert sorted(found)[3] < 5e-3, found  # of six some may jump: a router may choose another expert on the way


@pytest.fixture(scope="module")
def qwen(request) -> Model:
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    return request.getfixturevalue("family")("qwen3_vl_moe")


@pytest.fixture(scope="module")
def learnable(qwen, tmp_path_factory) -> tuple[list[Sample], TrainingSet]:
    """One question about pictures that differ: what is right is in the picture alone."""
    rng, samples = np.random.default_rng(0), []
    for number in range(8):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, format="PNG")
        samples.append(Sample(f"s{number}", f"i{number}", file.getvalue(), QUESTION, ("yes",)))
    samples = with_twins(samples)
    return samples, learned_from(qwen, samples, half_right, tmp_path_factory.mktemp("features"))


def controller(module, name: str, data: TrainingSet, directory, **changes):
    """Trained, and loaded as a job loads it."""
    grid, accuracy = data.fingerprint.grid, data.profile.accuracy.double().mean(dim=0).tolist()
    latency_ms = data.expected["okvqa"].fixed_ms
    entries = [Entry(c, a, ms, 9) for c, a, ms in zip(grid.configs, accuracy, latency_ms, strict=True)]
    write_tables(directory, LookupTable(entries), data.expected["okvqa"], grid)
    module.train(name, directory / "controllers" / name, data, lambda _: {}, settings(**changes), 0)
    context = ControllerContext(data.fingerprint, directory, "okvqa", 0.05, False, "cpu", "float32")
    return module.load(name, context)


def test_a_two_stage_policy_learns_what_only_the_image_tells(qwen, learnable, tmp_path):
    samples, data = learnable
    changes = {"objective": "exact", "steps": 60, "learning_rate": 1e-2, "batch_size": 32}
    trained, engine = controller(two_stage, "two-stage-budget", data, tmp_path, **changes), engine_of(qwen.backend)
    for number, sample in enumerate(samples[:8]):
        chosen = engine.answer(sample.open_image(), sample.question, None, trained, Limit(40.0)).config
        assert half_right(number, chosen), (number, chosen)


def test_a_predictor_learns_what_only_the_image_tells(qwen, learnable, tmp_path):
    samples, data = learnable
    trained, engine = controller(predict, "predict-overview", data, tmp_path, steps=60), engine_of(qwen.backend)
    for number, sample in enumerate(samples[:8]):
        chosen = engine.answer(sample.open_image(), sample.question, None, trained, Limit(40.0)).config
        assert half_right(number, chosen), (number, chosen)


def test_gradients_of_a_predictor_are_finite_differences(learnable):
    data = learnable[1]
    features, accuracy = features_of("predict-overview", data).double(), data.profile.accuracy.double()
    networks = unsettled(OutcomeNetworks(features.shape[1], accuracy.shape[1], 2)).double().eval()
    seen, table = networks.fit_standardise(features), accuracy.mean(dim=0)

    def total() -> Tensor:
        probability = corrected(table, networks.of_networks(seen.expand(len(networks.first), -1, -1)))
        return loss(probability, accuracy.expand_as(probability))

    assert error(total, networks.parameters(), 1e-4) < 1e-5
