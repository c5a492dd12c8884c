"""The two-stage controller, from features and profile through training to its decisions in the engine."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from policies import (
    ARCHITECTURE,
    FINGERPRINT,
    GRID,
    ask,
    choices_when_dearer_is_better,
    context,
    dearer_is_better,
    design_of,
    judged_rows,
    load_named,
    policy_card,
    prior_logits,
    run_training,
    training_set,
)

from adamolmo.controllers import two_stage
from adamolmo.controllers.base import Design
from adamolmo.controllers.policy_file import save_policy
from adamolmo.controllers.two_stage import PROTOTYPES, HostScheduler, RouterTier, Scheduler, TwoStagePolicy
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import sealed
from adamolmo.inference.controller import Limit, RequestSize, Stage1Inputs
from adamolmo.knobs import KnobGrid

NAME = "two-stage-budget"
NAMES = ("two-stage-budget", "two-stage-language", "two-stage-router")
SEED = 1  # its held-out samples need either choice


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", ["grpo", "exact"])
def test_learns_the_best_configuration_of_every_budget(name, objective, tiny_engine, tiny_samples, data, tmp_path):
    steps = 250 if objective == "grpo" else 150
    changes = {"objective": objective, "steps": steps, "batch_size": 32}
    run_training(two_stage, tmp_path, name, data(dearer_is_better), **changes)
    controller = load_named(name, context(tmp_path))
    lost, choices = choices_when_dearer_is_better(tiny_engine, tiny_samples[::3], controller)
    assert {config.tier for config in choices} == {"low", "high"}
    assert lost < 0.04


def test_stage_2_reads_the_prompt_through_the_prefix(tiny_engine, profiled, data, tmp_path):
    """Half of the samples are right only with top_k 2, the others only with 4: the budget alone cannot tell."""

    def needed(index) -> int:
        return 2 if index % 2 else 4

    changes = {"steps": 800, "learning_rate": 3e-3, "objective": "exact"}
    prepared, samples = data(lambda index, config: float(config.top_k == needed(index))), profiled[0]
    run_training(two_stage, tmp_path, NAME, prepared, SEED, **changes)
    controller = load_named(NAME, context(tmp_path))
    judged = judged_rows(prepared, SEED)
    assert {needed(row) for row in judged} == {2, 4}
    chosen = [ask(tiny_engine, samples[row], controller, 36.0).top_k for row in judged]
    assert chosen == [needed(row) for row in judged]


@pytest.mark.parametrize("name", ["two-stage-language", "two-stage-router"])
def test_stage_1_reads_the_question(name, tiny_engine, profiled, data, tmp_path):
    """Only one tier is right, and the question's length says which; the budget allows both."""
    samples = profiled[0]

    def needed(index) -> str:
        return "high" if len(samples[index].question.split()) > 4 else "low"

    prepared = data(lambda index, config: float(config.tier == needed(index)))
    run_training(two_stage, tmp_path, name, prepared, SEED, objective="exact", steps=400, learning_rate=1e-2)
    controller = load_named(name, context(tmp_path))
    judged = judged_rows(prepared, SEED)
    assert {needed(row) for row in judged} == {"low", "high"}
    chosen = [ask(tiny_engine, samples[row], controller, 36.0).tier for row in judged]
    assert chosen == [needed(row) for row in judged]


@pytest.mark.parametrize("name", NAMES)
def test_decides_as_it_was_trained(name, tiny_engine, tiny_samples, data, tmp_path):
    """Probabilities over the grid, from features, and decisions, from the engine, of one random policy."""
    torch.manual_seed(3)
    policy, prepared = TwoStagePolicy(name, ARCHITECTURE, GRID), data(dearer_is_better)
    policy.fit(prepared, torch.arange(10))
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_policy(tmp_path / "controllers" / name, policy, policy_card(name, ARCHITECTURE))
    controller = load_named(name, context(tmp_path))
    budgets_ms = (12.0, 21.0, 35.0)
    budgets, prior = torch.tensor(budgets_ms).expand(10, 3) / 27.0, prior_logits(prepared, budgets_ms)
    log_probs = policy.log_probs(prepared, torch.arange(10), budgets, prior)
    assert design_of(name) == Design(controller.reads(Limit(20.0)), stages=2)
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


def test_arrays_choose_what_the_trained_scheduler_does():
    torch.manual_seed(0)
    scheduler = Scheduler(16, GRID)
    for parameter in scheduler.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    of_host, states = HostScheduler(scheduler), 3 * torch.randn(500, 16) + 1
    for tier in range(len(GRID.tiers)):
        with torch.inference_mode():
            top_k, blocks = scheduler(states, torch.tensor(tier))
        found = [of_host(state, tier) for state in states.numpy()]
        for heads, expected in zip(zip(*found, strict=True), (top_k, blocks), strict=True):
            np.testing.assert_allclose(heads, expected, atol=1e-4)
            assert (np.argmax(heads, axis=1) == expected.argmax(dim=1).numpy()).all()


def test_stage_2_costs_one_token_through_the_prefix(tiny_engine, tiny_samples, tmp_path):
    """No layer runs twice: beside the plain request only the budget token passes blocks 0..2, and the answer stays."""
    save(tmp_path)
    controller = load_named(NAME, context(tmp_path))
    blocks, tokens = tiny_engine.backend.model.transformer["blocks"], []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output, i=i: tokens.append((i, inputs[0].shape[1])))
        for i, block in enumerate(blocks)
    ]
    try:
        for sample in tiny_samples[:3]:
            tokens.clear()
            response = tiny_engine.answer(sample.open_image(), sample.question, "tiny", controller, Limit(30.0))
            ran = tokens.copy()
            tokens.clear()
            fixed = load_named(f"static-{response.config}", context(tmp_path))
            plain = tiny_engine.answer(sample.open_image(), sample.question, "tiny", fixed, Limit(30.0))
            assert response.answer == plain.answer
            assert [block for block, _ in ran] == [block for block, _ in tokens]
            assert [b - a for (_, a), (_, b) in zip(tokens, ran, strict=True)] == [1, 1, 1] + [0] * (len(ran) - 3)
            with_token, without = (
                tiny_engine.backend.costs.prefix(plain.input_tokens + extra).flops for extra in (1, 0)
            )
            assert response.flops - plain.flops == pytest.approx(with_token - without)
            assert with_token - without < 0.2 * without
    finally:
        for hook in hooks:
            hook.remove()


def test_a_budget_is_encoded_once(tiny_engine, tiny_samples, tmp_path):
    """At its first request, whatever other budgets come between."""
    save(tmp_path)
    controller, encoded = load_named(NAME, context(tmp_path)), []
    controller.policy.encoder.register_forward_hook(lambda *call: encoded.append(call))
    for budget_ms in (30.0, 20.0, 30.0, 20.0):
        ask(tiny_engine, tiny_samples[0], controller, budget_ms)
    assert len(encoded) == 2


@pytest.mark.parametrize("name", NAMES)
def test_training_twice_gives_identical_files(name, data, tmp_path):
    files = []
    for seed in (0, 0, 1):
        torch.rand(1)  # the global random numbers play no part
        run_training(two_stage, tmp_path, name, data(dearer_is_better), seed=seed, steps=12)
        directory = tmp_path / "controllers" / name
        assert sorted(path.name for path in directory.iterdir()) == ["policy.json", "policy.safetensors"]
        files.append([(directory / file).read_bytes() for file in ("policy.safetensors", "policy.json")])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


def test_samples_without_features_are_left_out(profiled):
    samples, features, prefix = profiled
    unseen = [replace(sample, sample_id=f"x{sample.sample_id}") for sample in samples]
    data = training_set([*samples, unseen[0]], dearer_is_better, features, prefix)
    assert len(data.places) == len(data.profile.samples) == len(data.readings.question) == 20
    with pytest.raises(AdaMolmoError, match="no profiled sample of okvqa has features"):
        training_set(unseen, dearer_is_better, features, prefix)


def test_card_says_how_it_was_trained(data, tmp_path):
    log = run_training(two_stage, tmp_path, NAME, data(dearer_is_better), added_ms=0.25, objective="exact", steps=2)
    card = json.loads((tmp_path / "controllers" / NAME / "policy.json").read_text())
    assert card["training"]["settings"]["objective"] == "exact"
    assert (card["training"]["num_learned"], card["training"]["num_held_out"]) == (16, 4)
    assert card["training"]["overhead_ms"] == {"low": 0.25, "high": 0.25}
    assert card["training"]["held_out_reward"] == pytest.approx(log["held_out_reward"].max())


def test_own_time_makes_a_controller_choose_cheaper(tiny_engine, tiny_samples, data, tmp_path):
    """At 35 ms the dearest configuration (27 ms) is about best, unless the controller itself takes 12 ms."""
    chosen = []
    for added_ms in (0.0, 12.0):
        prepared = data(dearer_is_better)
        run_training(two_stage, tmp_path, NAME, prepared, added_ms=added_ms, objective="exact", steps=150)
        chosen.append(ask(tiny_engine, tiny_samples[0], load_named(NAME, context(tmp_path)), 35.0))
    assert chosen[1].num_active_blocks + chosen[1].top_k < chosen[0].num_active_blocks + chosen[0].top_k


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_checksum": "other"}, "features of okvqa: made for model_checksum 'checksum'; this study has 'other'"),
        ({"fixed_prefix_layers": 1}, "features of okvqa: made for fixed_prefix_layers '3'; this study has '1'"),
    ],
)
def test_features_of_another_model_are_refused(change, message, data, monkeypatch):
    monkeypatch.setattr("policies.FINGERPRINT", FINGERPRINT.model_copy(update=change))
    with pytest.raises(AdaMolmoError) as error:
        data(dearer_is_better)
    assert message in str(error.value)


def test_router_sends_questions_to_the_nearest_prototype():
    torch.manual_seed(0)
    centres = 10 * torch.eye(PROTOTYPES)
    questions = (centres[:, None] + 0.1 * torch.randn(PROTOTYPES, 5, PROTOTYPES)).flatten(0, 1)
    router = RouterTier(PROTOTYPES, GRID)
    router.fit(questions)
    nearest = torch.cdist(router.scale(questions), router.prototypes).argmin(dim=1).view(PROTOTYPES, 5)
    assert (nearest == nearest[:, :1]).all()  # questions of one cluster stay together,
    assert len(set(nearest[:, 0].tolist())) == PROTOTYPES  # those of different clusters do not


def save(directory: Path, name=NAME, fingerprint=FINGERPRINT) -> Path:
    """The policy of an untrained controller."""
    torch.manual_seed(0)
    path = directory / "controllers" / name
    save_policy(path, TwoStagePolicy(name, ARCHITECTURE, GRID), policy_card(name, ARCHITECTURE, fingerprint))
    return path


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
def test_policy_of_another_study_is_refused(change, message, tmp_path):
    save(tmp_path)
    with pytest.raises(AdaMolmoError) as error:
        load_named(NAME, replace(context(tmp_path), fingerprint=FINGERPRINT.model_copy(update=change)))
    assert message in str(error.value)
    assert "policy.json" in str(error.value)


def test_modelled_latency_belongs_to_no_device(tmp_path):
    modelled = FINGERPRINT.model_copy(update={"clock": "modelled"})
    save(tmp_path, fingerprint=modelled)
    elsewhere = modelled.model_copy(update={"device": {"name": "another core"}})
    assert load_named(NAME, replace(context(tmp_path), fingerprint=elsewhere)).name == NAME


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_unusable_files_are_named(name, tmp_path):
    saved = save(tmp_path)
    content = (saved / name).read_bytes()
    for broken in (content[: len(content) // 2], b"[]", None):
        (saved / name).unlink()
        if broken is not None:
            (saved / name).write_bytes(broken)
        with pytest.raises(
            AdaMolmoError, match=rf"{name}: (cannot be read|holds a list; expected|does not exist; expected)"
        ):
            load_named(NAME, context(tmp_path))
        (saved / name).write_bytes(content)


def test_weights_of_another_size_are_refused(tmp_path):
    saved = save(tmp_path)
    card = json.loads((saved / "policy.json").read_text())
    (saved / "policy.json").write_text(
        json.dumps(sealed(card | {"architecture": card["architecture"] | {"d_model": 32}}))
    )
    with pytest.raises(AdaMolmoError, match=r"policy.safetensors: wrong shapes encoder"):
        load_named(NAME, context(tmp_path))


def test_stage_1_is_tiny_and_the_token_fits_the_model(tmp_path):
    grid = KnobGrid(("low", "medium", "high"), (4, 5, 6, 7, 8), (12, 13, 14, 15, 16))
    policy = TwoStagePolicy(NAME, ARCHITECTURE.model_copy(update={"d_model": 64}), grid)
    assert 9_000 < sum(parameter.numel() for parameter in policy.tier.parameters()) < 11_000
    save(tmp_path)
    controller = load_named(NAME, replace(context(tmp_path), dtype="bfloat16"))
    token = controller.budget_token(20.0)
    assert (token.shape, token.dtype) == ((1, 16), torch.bfloat16)
    assert not torch.equal(token, controller.budget_token(25.0))
    decision = controller.predict_stage1(Stage1Inputs(Limit(20.0), RequestSize((2, 5), (30, 60))))
    assert decision.tier in GRID.tiers
    assert decision.decoder is None
    top_k, blocks = controller.predict_stage2(20.0, decision, token)
    assert top_k in GRID.top_k
    assert blocks in GRID.num_active_blocks
