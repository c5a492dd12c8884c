"""The two-stage controller, from features and profile through training to its decisions in the engine."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from adamolmo.config import RewardSettings, TrainingSettings
from adamolmo.controllers.base import ControllerContext, KnobGrid, Stage1Inputs, Study
from adamolmo.controllers.features import Features, FixedPrefix, make_features
from adamolmo.controllers.policy import PolicyCard, save_policy
from adamolmo.controllers.registry import load_controller
from adamolmo.controllers.two_stage import TwoStagePolicy, train
from adamolmo.errors import AdaMolmoError

NAME = "two-stage-budget"
GRID = KnobGrid(("low", "high"), (2, 3, 4), (5, 6, 7))
STUDY = Study(GRID, "checksum", 3, "measured", {"name": "a core", "cores": 2})
LATENCY_MS = np.array([10, 11, 12, 11, 12, 13, 12, 13, 14, 18, 20, 22, 20, 22, 24, 22, 24, 27.0])
BUDGETS_MS = {"okvqa": (11.0, 36.0)}


def settings(**changes) -> TrainingSettings:
    values = {
        "objective": "exact",
        "budgets": ["35pct", "110pct"],
        "steps": 150,
        "batch_size": 32,
        "group_size": 16,
        "learning_rate": 3e-3,
        "clip": 0.2,
        "kl": 0.01,
        "entropy": 0.01,
        "reward": RewardSettings(beta=0.5, gamma=10.0, delta=0.0, epsilon=0.0),
    }
    return TrainingSettings(**values | changes)


@pytest.fixture(scope="module")
def prefix(tiny_model) -> FixedPrefix:
    prefix = FixedPrefix(tiny_model.config)
    weights = {name.removeprefix("transformer."): t for name, t in tiny_model.state_dict().items()}
    prefix.load_state_dict({name: weights[name] for name in prefix.state_dict()})
    return prefix.requires_grad_(False)


@pytest.fixture
def features(tiny_engine, tiny_samples, tmp_path) -> dict[str, Features]:
    path = tmp_path / "features" / "okvqa.safetensors"
    make_features(tiny_engine, tiny_samples, "okvqa", "tiny", 5, "checksum", path)
    return {"okvqa": Features(path)}


@pytest.fixture
def context(tmp_path) -> ControllerContext:
    return ControllerContext(STUDY, tmp_path, "okvqa", 0.05, False, "cpu", "float32")


def core_exp(samples, accuracy) -> pd.DataFrame:
    """`accuracy(sample index, config)`; latency is the same for all samples."""
    rows = [
        ("okvqa", sample.sample_id, c.tier, c.top_k, c.num_active_blocks, accuracy(index, c), latency_ms, latency_ms)
        for index, sample in enumerate(samples)
        for c, latency_ms in zip(GRID.configs, LATENCY_MS, strict=True)
    ]
    names = ["dataset", "sample_id", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms", "flops"]
    return pd.DataFrame(rows, columns=names)


def dearer_is_better(_, config) -> float:
    return 0.4 * (config.tier == "high") + 0.08 * config.top_k + 0.03 * config.num_active_blocks - 0.16


def run_training(context, frame, features, prefix, seed=0, **changes) -> pd.DataFrame:
    directory = context.results / "controllers" / NAME
    return train(NAME, directory, STUDY, frame, BUDGETS_MS, features, prefix, settings(**changes), seed)


def ask(engine, sample, controller, budget_ms):
    return engine.answer(sample.open_image(), sample.question, "tiny", controller, budget_ms).config


@pytest.mark.parametrize("objective", ["grpo", "exact"])
def test_learns_the_best_configuration_of_every_budget(objective, tiny_engine, tiny_samples, context, features, prefix):
    frame = core_exp(tiny_samples, dearer_is_better)
    run_training(context, frame, features, prefix, objective=objective, steps=250 if objective == "grpo" else 150)
    controller = load_controller(NAME, context)
    accuracy = np.array([dearer_is_better(0, config) for config in GRID.configs])
    lost, best_of_all, chosen_tiers = [], [], set()
    for budget_ms in (12, 15, 20, 25, 30, 35):
        over = LATENCY_MS / budget_ms - 1
        rewards = accuracy - 0.5 / (1 + np.exp(-10 * over)) - 10 * np.maximum(over, 0) ** 2
        for sample in tiny_samples[::3]:
            chosen = ask(tiny_engine, sample, controller, budget_ms)
            chosen_tiers.add(chosen.tier)
            lost.append(rewards.max() - rewards[GRID.configs.index(chosen)])
            best_of_all.append(rewards.max())
    assert chosen_tiers == {"low", "high"}
    assert np.mean(lost) < 0.04 * np.mean(best_of_all)


def test_stage_2_reads_the_prompt_through_the_prefix(tiny_engine, tiny_samples, context, features, prefix):
    """Half of the samples are right only with top_k 2, the others only with 4: the budget alone cannot tell."""
    frame = core_exp(tiny_samples, lambda index, config: float(config.top_k == (2 if index % 2 else 4)))
    run_training(context, frame, features, prefix, steps=200, learning_rate=1e-2)
    controller = load_controller(NAME, context)
    chosen = [ask(tiny_engine, sample, controller, 36.0).top_k for sample in tiny_samples]
    right = [top_k == (2 if index % 2 else 4) for index, top_k in enumerate(chosen)]
    assert sum(right) >= 9


def test_decides_as_it_was_trained(tiny_engine, tiny_samples, context, features, prefix):
    """Probabilities over the grid, from features, and decisions, from the engine, of one random policy."""
    torch.manual_seed(3)
    policy = TwoStagePolicy(tiny_engine.model.config.d_model, GRID)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_policy(context.results / "controllers" / NAME, policy, PolicyCard(NAME, STUDY, 16, 27.0, {}))
    controller = load_controller(NAME, context)
    budgets_ms = (12.0, 21.0, 35.0)
    prompts = [features["okvqa"].prompt(sample, tier) for tier in (0, 1) for sample in range(10)]
    relative = torch.tensor(budgets_ms).expand(10, 3) / 27.0
    log_probs = policy.log_probs(prefix, prompts, relative)
    assert log_probs.shape == (10, 3, len(GRID.configs))
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(10, 3))
    decided = set()
    for index, sample in enumerate(tiny_samples):
        for column, budget_ms in enumerate(budgets_ms):
            chosen = ask(tiny_engine, sample, controller, budget_ms)
            of_tiers = log_probs[index, column].exp().view(GRID.shape).sum(dim=(1, 2))
            assert GRID.tiers[of_tiers.argmax()] == chosen.tier
            of_tier = log_probs[index, column].view(GRID.shape)[of_tiers.argmax()]
            best = of_tier.flatten().argmax().item()
            assert (GRID.top_k[best // 3], GRID.num_active_blocks[best % 3]) == (chosen.top_k, chosen.num_active_blocks)
            decided.add(chosen)
    assert len(decided) > 2


def test_training_twice_gives_identical_files(tiny_samples, context, features, prefix):
    frame = core_exp(tiny_samples, dearer_is_better)
    files = []
    for seed in (0, 0, 1):
        torch.rand(1)  # the global random numbers play no part
        run_training(context, frame, features, prefix, seed=seed, steps=12, objective="grpo")
        directory = context.results / "controllers" / NAME
        assert sorted(path.name for path in directory.iterdir()) == ["policy.json", "policy.safetensors"]
        files.append([(directory / name).read_bytes() for name in ("policy.safetensors", "policy.json")])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


def test_samples_without_features_are_left_out(tiny_samples, context, features, prefix):
    frame = core_exp(tiny_samples, dearer_is_better)
    more = pd.concat([frame, frame[frame["sample_id"] == "s0"].assign(sample_id="unseen")])
    run_training(context, more, features, prefix, steps=2)
    card = json.loads((context.results / "controllers" / NAME / "policy.json").read_text())
    assert card["training"]["num_samples"] == 10
    assert card["training"]["settings"]["objective"] == "exact"
    with pytest.raises(AdaMolmoError, match="no profiled sample of okvqa has features"):
        run_training(context, frame.assign(sample_id="x" + frame["sample_id"]), features, prefix, steps=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_checksum": "other"}, "features of okvqa: made for model_checksum 'checksum'; this study has 'other'"),
        ({"fixed_prefix_layers": 1}, "features of okvqa: made for fixed_prefix_layers '3'; this study has '1'"),
    ],
)
def test_features_of_another_model_are_refused(change, message, tiny_samples, context, features, prefix):
    frame = core_exp(tiny_samples, dearer_is_better)
    study = replace(STUDY, **change)
    with pytest.raises(AdaMolmoError) as error:
        train(NAME, context.results, study, frame, BUDGETS_MS, features, prefix, settings(steps=1), 0)
    assert message in str(error.value)


@pytest.fixture
def saved(context):
    """The policy of an untrained controller, in its directory."""
    torch.manual_seed(0)
    directory = context.results / "controllers" / NAME
    save_policy(directory, TwoStagePolicy(16, GRID), PolicyCard(NAME, STUDY, 16, 30.0, {}))
    load_controller(NAME, context)
    return directory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": replace(GRID, top_k=(2, 4))}, "trained for grid 'tiers low/high, top_k 2/3/4"),
        ({"model_checksum": "new"}, "trained for model_checksum 'checksum'; this study has 'new', train again"),
        ({"fixed_prefix_layers": 2}, "trained for fixed_prefix_layers '3'"),
        ({"clock": "modelled"}, "trained for clock 'measured'; this study has 'modelled'"),
        ({"device": {"name": "another core", "cores": 2}}, "trained for device '{'name': 'a core'"),
    ],
)
def test_policy_of_another_study_is_refused(change, message, saved, context):
    with pytest.raises(AdaMolmoError) as error:
        load_controller(NAME, replace(context, study=replace(STUDY, **change)))
    assert message in str(error.value)
    assert "policy.json" in str(error.value)


def test_modelled_latency_belongs_to_no_device(saved, context):
    study = replace(STUDY, clock="modelled")
    save_policy(saved, TwoStagePolicy(16, GRID), PolicyCard(NAME, study, 16, 30.0, {}))
    elsewhere = replace(study, device={"name": "another core"})
    assert load_controller(NAME, replace(context, study=elsewhere)).name == NAME


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_unusable_files_are_named(name, saved, context):
    content = (saved / name).read_bytes()
    for broken in (content[: len(content) // 2], b"[]", None):
        (saved / name).unlink()
        if broken is not None:
            (saved / name).write_bytes(broken)
        with pytest.raises(AdaMolmoError, match=rf"{name}: cannot be read"):
            load_controller(NAME, context)
        (saved / name).write_bytes(content)


def test_weights_of_another_size_are_refused(saved, context):
    card = json.loads((saved / "policy.json").read_text())
    (saved / "policy.json").write_text(json.dumps(card | {"d_model": 32}))
    with pytest.raises(AdaMolmoError, match=r"policy.safetensors: wrong shapes encoder"):
        load_controller(NAME, context)


def test_stage_1_is_tiny_and_the_token_fits_the_model(saved, context):
    policy = TwoStagePolicy(64, KnobGrid(("low", "medium", "high"), (4, 5, 6, 7, 8), (12, 13, 14, 15, 16)))
    assert 9_000 < sum(parameter.numel() for parameter in policy.tier.parameters()) < 11_000
    controller = load_controller(NAME, replace(context, dtype="bfloat16"))
    token = controller.budget_token(20.0)
    assert (token.shape, token.dtype) == ((1, 16), torch.bfloat16)
    assert not torch.equal(token, controller.budget_token(25.0))
    assert controller.predict_stage1(Stage1Inputs(20.0)) in GRID.tiers
    top_k, blocks = controller.predict_stage2(20.0, "low", token)
    assert top_k in GRID.top_k
    assert blocks in GRID.num_active_blocks
