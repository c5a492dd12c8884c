"""Single-stage controllers with each source of their look at the image, and the hybrid of both designs."""

import json

import numpy as np
import pytest
import torch
from policies import (
    ARCHITECTURE,
    BUDGETS_MS,
    EXPECTED,
    GRID,
    LATENCY_MS,
    ask,
    choices_when_dearer_is_better,
    context,
    dearer_is_better,
    design_of,
    learned_rows,
    load_named,
    policy_card,
    prior_logits,
    rewards_at,
    run_training,
)

from adamolmo.config.training import MobileViTSettings
from adamolmo.controllers import hybrid, single_stage, two_stage
from adamolmo.controllers.base import Design
from adamolmo.controllers.policy_file import save_policy
from adamolmo.controllers.registry import CONTROLLERS
from adamolmo.controllers.roles import HYBRID_PARTS
from adamolmo.controllers.single_stage import SingleStagePolicy
from adamolmo.controllers.training import grpo, light_vision
from adamolmo.controllers.two_stage import STAGE_1, TwoStagePolicy
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.policy import MobileViT
from adamolmo.files.schema import write_table
from adamolmo.files.training import TRAINING
from adamolmo.inference.controller import Limit, RequestSize, Stage1Inputs

NAMES = [name for name in CONTROLLERS if name.startswith("single-stage")]
FULL = ["single-stage-mlp", "single-stage-transformer"]


def test_there_are_two_designs_with_three_sources_each():
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_decides_as_it_was_trained(name, tiny_engine, tiny_samples, data, tmp_path):
    """Probabilities over the grid, from features, and decisions, from the engine, of one random policy."""
    torch.manual_seed(2)
    policy, rows = SingleStagePolicy(name, ARCHITECTURE, GRID), torch.arange(10)
    policy.fit(data(dearer_is_better), rows)
    for head in policy.heads:
        torch.nn.init.normal_(head.weight, std=3.0)
    policy.eval()
    save_policy(tmp_path / "controllers" / name, policy, policy_card(name, ARCHITECTURE))
    controller = load_named(name, context(tmp_path))
    budgets_ms = (12.0, 21.0, 35.0)
    with torch.no_grad():
        prior = prior_logits(data(dearer_is_better), budgets_ms)
        budgets = torch.tensor(budgets_ms).expand(10, 3) / 27.0
        log_probs = policy.log_probs(data(dearer_is_better), rows, budgets, prior)
    assert design_of(name) == Design(controller.reads(Limit(20.0)))
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(10, 3))
    decided = set()
    for index, sample in enumerate(tiny_samples):
        for column, budget_ms in enumerate(budgets_ms):
            chosen = ask(tiny_engine, sample, controller, budget_ms)
            assert GRID.configs[grpo.choices(log_probs[index, column], GRID)] == chosen
            decided.add(chosen)
    assert len(decided) > 2


@pytest.mark.parametrize("name", [*FULL, "two-stage-budget", "two-stage-language"])
def test_starts_at_the_choice_of_the_table(name, tiny_engine, tiny_samples, tmp_path):
    torch.manual_seed(0)
    build = TwoStagePolicy if name in STAGE_1 else SingleStagePolicy
    save_policy(tmp_path / "controllers" / name, build(name, ARCHITECTURE, GRID), policy_card(name, ARCHITECTURE))
    controller = load_named(name, context(tmp_path))
    accuracy = np.array([dearer_is_better(0, config) for config in GRID.configs])
    for budget_ms in (12.0, 16.0, 21.0, 26.0, 35.0):
        best = GRID.configs[rewards_at(budget_ms, accuracy).argmax()]
        for sample in tiny_samples[:2]:
            assert ask(tiny_engine, sample, controller, budget_ms) == best


def test_starts_from_what_this_request_is_expected_to_take(tmp_path):
    """Twice as many crops, twice as slow: the same budget is half of it."""
    name = FULL[0]
    policy = SingleStagePolicy(name, ARCHITECTURE, GRID)
    save_policy(tmp_path / "controllers" / name, policy, policy_card(name, ARCHITECTURE))
    controller = load_named(name, context(tmp_path))
    controller.prior.latency = ExpectedLatency(EXPECTED["okvqa"].tier, np.zeros(18), LATENCY_MS / 3, np.zeros(18))
    seen = {"question": torch.zeros(1, 16), "overview": torch.zeros(1, 64)}

    def decide(crops, budget_ms):
        return controller.predict_stage1(Stage1Inputs(Limit(budget_ms), RequestSize((crops,) * 2, (30,) * 2), **seen))

    assert decide(3, 20.0) == decide(6, 40.0) != decide(6, 20.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "single-stage-transformer-mobilevit"])
def test_learns_the_best_configuration_of_every_budget(name, tiny_engine, tiny_samples, data, tmp_path):
    """Without the combination of two parts that others here have each, the slowest of all."""
    log = run_training(single_stage, tmp_path, name, data(dearer_is_better), objective="exact", steps=200)
    write_table(log, tmp_path / "training.parquet", TRAINING)
    controller = load_named(name, context(tmp_path))
    lost, _ = choices_when_dearer_is_better(tiny_engine, tiny_samples[::4], controller)
    assert lost < 0.05


@pytest.mark.parametrize("name", FULL)
def test_sees_the_image(name, tiny_engine, tiny_samples, data, tmp_path):
    """Only one top_k is right, and only the image says which: questions differ within an image."""

    def needed(index) -> int:
        return 2 if (index % 10 // 2) % 2 else 4  # twins are ten apart

    prepared = data(lambda index, config: float(config.top_k == needed(index)))
    run_training(single_stage, tmp_path, name, prepared, objective="exact", steps=500, learning_rate=1e-2)
    controller = load_named(name, context(tmp_path))
    learned = {row % len(tiny_samples) for row in learned_rows(prepared)}
    assert {needed(row) for row in learned} == {2, 4}
    chosen = [ask(tiny_engine, tiny_samples[row], controller, 36.0).top_k for row in learned]
    assert chosen == [needed(row) for row in learned]


@pytest.mark.parametrize("name", ["single-stage-mlp-distilled", "single-stage-transformer-mobilevit"])
def test_training_twice_gives_identical_files(name, data, tmp_path):
    files = []
    for seed in (0, 0, 1):
        torch.rand(1)
        run_training(single_stage, tmp_path, name, data(dearer_is_better), seed=seed, steps=6)
        directory = tmp_path / "controllers" / name
        files.append([(directory / file).read_bytes() for file in ("policy.safetensors", "policy.json")])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


def test_distilled_features_follow_the_full_ones(data):
    """Closer to the full feature's components than their mean is."""
    torch.manual_seed(0)
    prepared, rows = data(dearer_is_better), torch.arange(10)
    student = light_vision.DistilledFeature(ARCHITECTURE)
    student.fit(prepared, rows)
    targets = light_vision.principal_components(prepared.readings.overview, light_vision.COMPONENTS)
    error = (student(prepared.readings.thumbnail / 255) - targets).square().mean()
    assert error < 0.2 * targets.square().mean()
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_principal_components_are_uncorrelated_and_ordered():
    torch.manual_seed(0)
    samples = torch.randn(50, 3) @ torch.diag(torch.tensor([5.0, 2.0, 0.1]))
    found = light_vision.principal_components(samples, 2)
    torch.testing.assert_close(found.T @ found / 50, torch.eye(2), rtol=1e-4, atol=1e-4)
    assert torch.corrcoef(torch.stack([found[:, 0], samples[:, 0]]))[0, 1].abs() > 0.95
    assert light_vision.principal_components(samples[:2], 4).shape == (2, 4)


def test_mobilevit_from_a_checkpoint_is_frozen(data, tmp_path):
    scratch = light_vision.MobileViTFeature(ARCHITECTURE)
    scratch.encoder.save_pretrained(tmp_path / "mobilevit")
    chosen = MobileViTSettings(checkpoint=str(tmp_path / "mobilevit"), width=0.5)
    name = "single-stage-mlp-mobilevit"
    run_training(single_stage, tmp_path, name, data(dearer_is_better), steps=3, mobilevit=chosen)
    policy = load_named(name, context(tmp_path)).policy
    for key, tensor in scratch.encoder.state_dict().items():
        torch.testing.assert_close(policy.vision.encoder.state_dict()[key], tensor)


def test_missing_mobilevit_checkpoint_is_named(tmp_path):
    nowhere = ARCHITECTURE.model_copy(update={"mobilevit": MobileViT(checkpoint=str(tmp_path / "nowhere"), width=0.1)})
    with pytest.raises(AdaMolmoError, match=r"training.mobilevit.checkpoint is '.*nowhere', which cannot be loaded"):
        light_vision.MobileViTFeature(nowhere)


# --- hybrid


def train_parts(data, tmp_path, **changes) -> None:
    for module, name in zip((two_stage, single_stage), HYBRID_PARTS, strict=True):
        run_training(module, tmp_path, name, data(dearer_is_better), added_ms=0.5, **changes)


def test_hybrid_decides_as_the_part_that_the_budget_belongs_to(tiny_engine, tiny_samples, data, tmp_path):
    train_parts(data, tmp_path, objective="exact", steps=60)
    log = run_training(hybrid, tmp_path, "hybrid", data(dearer_is_better), objective="exact")
    write_table(log, tmp_path / "training.parquet", TRAINING)
    controller = load_named("hybrid", context(tmp_path))
    tight, loose = (load_named(part, context(tmp_path)) for part in HYBRID_PARTS)
    controller.switch_ms = 22.0
    for budget_ms in (12.0, 21.9, 22.0, 30.0):
        part = tight if budget_ms < 22 else loose
        assert controller.reads(Limit(budget_ms)) == part.reads(Limit(budget_ms))
        assert (controller.budget_token(budget_ms) is None) == (part is loose)
        for sample in tiny_samples[::3]:
            assert ask(tiny_engine, sample, controller, budget_ms) == ask(tiny_engine, sample, part, budget_ms)


def test_hybrid_reads_its_switch_off_the_profile(data, tmp_path):
    train_parts(data, tmp_path, objective="exact", steps=4)
    run_training(hybrid, tmp_path, "hybrid", data(dearer_is_better))
    card = json.loads((tmp_path / "controllers/hybrid/policy.json").read_text())
    assert card["training"]["parts"] == list(HYBRID_PARTS)
    switch_ms = card["training"]["switch_ms"]
    assert switch_ms is None or BUDGETS_MS["okvqa"][0] <= switch_ms <= BUDGETS_MS["okvqa"][1]


def test_switch_point_by_hand():
    candidates, tight = torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.tensor([0.4, 0.5, 0.6, 0.7])
    better_from_30 = torch.tensor([0.1, 0.4, 0.7, 0.9])
    assert hybrid.switch_point(candidates, tight, better_from_30) == 30.0
    assert hybrid.switch_point(candidates, tight, tight - 0.1) == float("inf")
    assert hybrid.switch_point(candidates, tight, tight + 0.1) == 10.0
    assert hybrid.switch_point(candidates, tight, torch.tensor([0.6, 0.1, 0.8, 0.8])) == 30.0


def test_single_stage_settles_everything_before_vision(data, tmp_path):
    torch.manual_seed(0)
    name = FULL[0]
    save_policy(
        tmp_path / "controllers" / name,
        SingleStagePolicy(name, ARCHITECTURE, GRID),
        policy_card(name, ARCHITECTURE),
    )
    controller = load_named(name, context(tmp_path))
    assert controller.reads(Limit(20.0)) == {"size", "question", "overview"}
    size = RequestSize((2, 5), (30, 60))
    decision = controller.predict_stage1(
        Stage1Inputs(Limit(20.0), size, question=torch.zeros(1, 16), overview=torch.zeros(1, 64))
    )
    assert controller.budget_token(20.0) is None
    assert controller.predict_stage2(20.0, decision, None) == decision.decoder
