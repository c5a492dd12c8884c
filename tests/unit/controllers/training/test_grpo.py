"""Reward, profile and trainer, on profiles where the best configuration of every budget is known."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from policies import settings
from torch import nn

from adamolmo.config.training import RewardSettings
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.budget_code import CODE_SIZE, BudgetCode
from adamolmo.controllers.training.reward import COLUMNS, Profile, reward
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.training import TRAINING
from adamolmo.knobs import KnobGrid

GRID = KnobGrid(("low", "high"), (4, 8), (12, 14, 16))
LATENCY_MS = torch.tensor([10.0, 12, 14, 12, 15, 18, 16, 20, 24, 22, 28, 34])
ACCURACY = torch.tensor([0.30, 0.36, 0.40, 0.34, 0.42, 0.48, 0.44, 0.52, 0.60, 0.56, 0.68, 0.80])
BUDGETS_MS = (12.0, 40.0)
PER_CROP = ExpectedLatency(np.repeat([0, 1], 6), LATENCY_MS.numpy(), np.ones(12), np.zeros(12))
DESIGN = RewardSettings(beta=0.5, gamma=10.0, delta=0.0, epsilon=0.0)


def core_exp(num_samples=200, dataset="okvqa") -> pd.DataFrame:
    """Answers are right or wrong, with the probabilities above; latency differs by some percent between samples."""
    rng = np.random.default_rng(0)
    rows = [
        (
            dataset,
            f"s{sample:03}",
            f"i{sample // 2:03}",
            config.tier,
            config.top_k,
            config.num_active_blocks,
            right,
            latency_ms,
            1e9 * flops,
            2 + 3 * (config.tier == "high"),
            30,
        )
        for sample in range(num_samples)
        for config, right, latency_ms, flops in zip(
            GRID.configs,
            (rng.random() < ACCURACY.numpy()).astype(float),
            LATENCY_MS.numpy() * rng.normal(1, 0.03, len(ACCURACY)),
            LATENCY_MS.tolist(),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def profile(frame=None) -> Profile:
    return Profile.from_frame(core_exp() if frame is None else frame, GRID, {"okvqa": BUDGETS_MS}, {"okvqa": PER_CROP})


class BudgetPolicy(nn.Module):
    """The smallest learned policy: configurations from the budget alone."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.code = BudgetCode()
        self.layers = nn.Sequential(nn.Linear(CODE_SIZE, 64), nn.GELU(), nn.Linear(64, len(ACCURACY)))

    def forward(self, rows, budget_ms):
        return self.layers(self.code(budget_ms / 34)).log_softmax(dim=-1)


def uniform(rows, budget_ms):
    """No configuration is favoured by the table."""
    return torch.zeros(*budget_ms.shape, len(ACCURACY))


def train(policy=None, table=None, seed=0, **changes):
    policy = policy or BudgetPolicy()
    table, chosen = table or profile(), settings(**changes)
    split = grpo.Split.by_image(table.images, chosen.held_out, seed)
    log = grpo.train(policy, policy, uniform, table, split, GRID, chosen, seed, "test")
    return policy, log


# --- reward


def test_reward_by_hand():
    weights = RewardSettings(beta=0.5, gamma=10.0, delta=0.2, epsilon=0.1)
    accuracy, complexity = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.5, 0.0])
    earned = reward(accuracy, torch.tensor([20.0, 10.0, 30.0]), complexity, torch.tensor(20.0), weights)
    at_budget = 1 - 0.5 * 0.5 - 0.1
    half = 1 - 0.5 / (1 + np.exp(5)) + 0.2 * 0.5 - 0.1 * 0.5
    half_over = -0.5 / (1 + np.exp(-5)) - 10 * 0.25
    np.testing.assert_allclose(earned, [at_budget, half, half_over], rtol=1e-5)


# --- profile


def test_profile_is_in_the_order_of_the_grid():
    frame = pd.concat([core_exp(5), core_exp(4, "text_vqa").assign(accuracy=1.0)])
    shuffled = frame.sample(frac=1, random_state=0).assign(tier=lambda f: f["tier"].astype("category"))
    expected = {"okvqa": PER_CROP, "text_vqa": PER_CROP}
    table = Profile.from_frame(shuffled, GRID, {"okvqa": (1.0, 2.0), "text_vqa": (3.0, 4.0)}, expected)
    assert table.samples == (
        *(("okvqa", f"s{i:03}") for i in range(5)),
        *(("text_vqa", f"s{i:03}") for i in range(4)),
    )
    for row, (dataset, sample_id) in enumerate(table.samples):
        for column, config in enumerate(GRID.configs):
            (found,) = frame[
                (frame[["dataset", "sample_id"]] == [dataset, sample_id]).all(axis=1)
                & (frame["tier"] == config.tier)
                & (frame["top_k"] == config.top_k)
                & (frame["num_active_blocks"] == config.num_active_blocks)
            ].itertuples()
            assert table.accuracy[row, column] == found.accuracy
            assert table.latency_ms[row, column] == pytest.approx(found.latency_ms, rel=1e-6)
    slower = table.slower([0.5 * place for place in range(len(GRID.configs))])
    np.testing.assert_allclose(table.complexity[0], LATENCY_MS / 34, rtol=1e-6)
    assert table.images[:5] == tuple(("okvqa", f"i{i // 2:03}") for i in range(5))
    assert slower.latency_ms[3, 4] == table.latency_ms[3, 4] + 2.0
    assert table.num_crops.tolist() == [[2, 5]] * 9
    np.testing.assert_allclose(table.expected_ms[0], LATENCY_MS + torch.tensor([2.0] * 6 + [5.0] * 6), rtol=1e-6)
    assert slower.expected_ms[3, 4] == table.expected_ms[3, 4] + 2.0
    of_datasets = table.table(torch.tensor([0, 1, 5, 7]))
    np.testing.assert_allclose(of_datasets, [table.accuracy[:2].mean(dim=0).tolist(), [1.0] * 12])
    assert table.budget_ms.tolist() == [[1, 2]] * 5 + [[3, 4]] * 4
    assert table.take([7, 0]).samples == (("text_vqa", "s002"), ("okvqa", "s000"))
    assert table.take([7]).budget_ms.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[f["top_k"] != 8], "okvqa: its configurations are not the study's grid; expected tiers low/high"),
        (lambda f: f.assign(top_k=f["top_k"].replace(8, 7)), "okvqa: its configurations are not the study's grid"),
        (lambda f: f.drop(index=f.index[30]), "okvqa: sample 's002' has 11 rows; expected each of the 12"),
        (lambda f: pd.concat([f, f.iloc[[3]]]), "okvqa: sample 's000' has 13 rows; expected each of the 12"),
        (lambda f: pd.concat([f.iloc[1:], f.iloc[[3]]]), "okvqa: sample 's000' has 12 rows; expected each of the 12"),
    ],
)
def test_profile_of_another_grid_is_refused(change, message):
    with pytest.raises(AdaMolmoError) as error:
        profile(change(core_exp(5)))
    assert message in str(error.value)


# --- parts of the objective


def test_advantages_compare_within_the_group():
    log_probs = torch.full((2, 3, 12), 1 / 12).log()
    rewards = torch.arange(12.0).expand(2, 3, 12)
    groups = grpo.draw_groups(log_probs, rewards, 6, torch.Generator().manual_seed(0))
    assert groups.drawn.shape == groups.advantages.shape == (2, 3, 6)
    torch.testing.assert_close(groups.advantages.mean(dim=-1), torch.zeros(2, 3))
    for drawn, advantages in zip(groups.drawn.flatten(0, 1), groups.advantages.flatten(0, 1), strict=True):
        earned = drawn.double()
        expected = (earned - earned.mean()) / (earned.std() + 1)
        torch.testing.assert_close(advantages.double(), expected, rtol=1e-5, atol=1e-6)
    unequal = torch.tensor([[[1.0, 0.0, 0.0]]])
    drawn = grpo.draw_groups(unequal.log(), torch.zeros(1, 1, 3), 8, torch.Generator()).drawn
    assert (drawn == 0).all()


def test_gain_is_clipped_on_the_side_of_its_advantage():
    probabilities = torch.tensor([[[0.5, 0.5]]], requires_grad=True)
    for ratio, advantage, moves in [(1.1, 1.0, True), (1.3, 1.0, False), (0.7, 1.0, True), (0.7, -1.0, False)]:
        drawn_by = (torch.tensor([[[0.5, 0.5]]]) / ratio).log()
        groups = grpo.Groups(torch.tensor([[[0]]]), torch.tensor([[[advantage]]]), drawn_by)
        gain = grpo.clipped_gain(probabilities.log(), groups, 0.2)
        assert gain.item() == pytest.approx(min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage))
        (gradient,) = torch.autograd.grad(gain.sum(), probabilities)
        assert (gradient[0, 0, 0] != 0) == moves


def test_divergence_and_entropy():
    p, q = torch.tensor([[[0.5, 0.25, 0.25]]]), torch.tensor([[[0.25, 0.25, 0.5]]])
    assert grpo.divergence(p.log(), q.log()).item() == pytest.approx(0.25 * np.log(2))
    assert grpo.entropy(p.log()).item() == pytest.approx(1.5 * np.log(2))


def test_budgets_cover_the_range_of_their_sample():
    table = Profile.from_frame(
        pd.concat([core_exp(20), core_exp(20, "text_vqa")]),
        GRID,
        {"okvqa": (10.0, 20.0), "text_vqa": (30.0, 50.0)},
        {"okvqa": PER_CROP, "text_vqa": PER_CROP},
    )
    rows = torch.arange(5, 40)
    batch = grpo.draw_batch(table, rows, settings(batch_size=2001), torch.Generator().manual_seed(0))
    assert sorted(set(batch.rows.tolist())) == rows.tolist()
    assert batch.budget_ms.shape == (501, 4)
    for first, (low, high) in ((True, (10, 20)), (False, (30, 50))):
        drawn = batch.budget_ms[(batch.rows < 20) == first]
        assert low <= drawn.min() < low + 0.5 < high - 0.5 < drawn.max() <= high
        assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


# --- training


def mean_reward(policy, table, budget_ms: float) -> tuple[float, float]:
    """Mean reward of the policy's most probable configuration, and of the best configuration."""
    budgets = torch.full((len(table.samples), 1), budget_ms)
    rewards = table.reward(torch.arange(len(table.samples)), budgets, DESIGN).mean(dim=(0, 1))
    chosen = policy(None, budgets[:1]).argmax().item()
    return rewards[chosen].item(), rewards.max().item()


@pytest.mark.parametrize("objective", ["grpo", "exact"])
def test_finds_the_best_configuration_of_every_budget(objective):
    table = profile()
    policy, log = train(table=table, objective=objective)
    found = [mean_reward(policy, table, budget_ms) for budget_ms in np.linspace(13, 39, 14)]
    untrained = [mean_reward(BudgetPolicy(), table, budget_ms) for budget_ms in np.linspace(13, 39, 14)]
    loss = np.mean([best - chosen for chosen, best in found])
    assert loss < 0.03 * np.mean([best for _, best in found])
    assert loss < 0.1 * np.mean([best - chosen for chosen, best in untrained])
    assert log["reward"].tail(5).mean() > log["reward"].head(1).mean()
    assert log["violation_rate"].tail(5).mean() < 0.1 < log["violation_rate"].iloc[0]


def test_samples_whose_rewards_hardly_differ_do_not_outweigh_the_others():
    """Seven of ten samples are right at any setting, three only at the dearest: at a loose budget it must win."""
    frame = core_exp(100)
    hard = frame["sample_id"].str[-1].isin(["0", "1", "2"])
    dearest = (frame["tier"] == "high") & (frame["top_k"] == 8) & (frame["num_active_blocks"] == 16)
    table = profile(frame.assign(accuracy=(~hard | dearest).astype(float)))
    policy, _ = train(table=table)
    chosen, best = mean_reward(policy, table, 39.9)
    assert chosen > best - 0.02


@pytest.mark.parametrize("objective", ["grpo", "exact"])
def test_training_follows_from_the_seed(objective):
    runs = [train(seed=seed, objective=objective, steps=20) for seed in (0, 0, 1)]
    weights = [torch.cat([p.flatten() for p in policy.parameters()]) for policy, _ in runs]
    assert torch.equal(weights[0], weights[1])
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1])
    assert not torch.equal(weights[0], weights[2])


def test_supervision_imitates_the_best_configuration():
    """All samples agree, so the most frequent best configuration is the best one."""
    frame = core_exp(40).assign(accuracy=np.tile(ACCURACY.numpy(), 40), latency_ms=np.tile(LATENCY_MS.numpy(), 40))
    table = profile(frame)
    policy, _ = train(table=table, objective="supervised")
    losses = [best - chosen for chosen, best in (mean_reward(policy, table, ms) for ms in np.linspace(13, 39, 14))]
    assert np.mean(losses) < 0.01


def test_log_fits_its_schema(tmp_path):
    _, log = train(steps=50)
    assert log["step"].tolist() == [20, 40, 50]
    write_table(log, tmp_path / "training.parquet", TRAINING)
    stored, _ = read_table(tmp_path / "training.parquet", TRAINING)
    assert stored["entropy"].iloc[0] == pytest.approx(np.log(len(ACCURACY)), rel=0.1)
    assert (stored["kl"] > 0).all()  # it departs from the uniform policy


def test_a_strong_pull_keeps_a_policy_at_the_tables(tmp_path):
    """The table's policy prefers the cheapest configuration, which earns little."""

    def cheapest(rows, budget_ms):
        return torch.tensor([5.0] + [0.0] * 11).expand(*budget_ms.shape, -1)

    reference, table = cheapest(None, torch.zeros(1, 1)).log_softmax(dim=-1), profile()
    split = grpo.Split.by_image(table.images, 0.2, 0)
    kl = []
    for weight in (0.01, 100.0):
        policy, chosen = BudgetPolicy(), settings(steps=100, kl=weight, objective="exact", entropy=0.0)
        grpo.train(policy, policy, cheapest, table, split, GRID, chosen, 0, "test")
        kl.append(grpo.divergence(policy(None, torch.tensor([[30.0]])), reference).item())
    assert kl[1] < 0.2 * kl[0]


def test_images_are_on_one_side_of_the_split():
    images = [("okvqa", f"i{index // 3}") for index in range(60)]
    split = grpo.Split.by_image(images, 0.25, seed=0)
    sides = [{images[row] for row in rows.tolist()} for rows in (split.learned, split.held_out)]
    assert not sides[0] & sides[1]
    assert (len(sides[0]), len(sides[1])) == (15, 5)
    assert sorted([*split.learned.tolist(), *split.held_out.tolist()]) == list(range(60))
    assert grpo.Split.by_image(images, 0.25, seed=1).held_out.tolist() != split.held_out.tolist()
    with pytest.raises(AdaMolmoError, match=r"training.held_out is 0.01 and the profile has 20 images"):
        grpo.Split.by_image(images, 0.01, seed=0)


class Memoriser(nn.Module):
    """Configurations by row, whatever the budget: what it learns says nothing about other samples."""

    def __init__(self, rows):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(rows, len(ACCURACY)))

    def forward(self, rows, budget_ms):
        logits = self.logits[rows] + self.logits.mean(dim=0)
        return logits.log_softmax(dim=-1)[:, None].expand(-1, budget_ms.shape[1], -1)


def test_training_stops_early_and_keeps_the_best_weights():
    table = profile(core_exp(40).assign(latency_ms=1.0))
    chosen = settings(steps=2000, patience=3, objective="exact", learning_rate=0.05)
    split = grpo.Split.by_image(table.images, 0.5, 0)
    policy = Memoriser(40)
    log = grpo.train(policy, policy, uniform, table, split, GRID, chosen, 0, "test")
    best = log["held_out_reward"].idxmax()
    assert len(log) == best + 4 < 100
    found = grpo.score_choices(policy, table, split.held_out, GRID, chosen)
    assert found["held_out_reward"] == pytest.approx(log["held_out_reward"][best], abs=1e-5)
    assert not policy.training


def test_choices_follow_the_stages():
    """The most probable tier comes first, even when the most probable configuration lies in another."""
    probabilities = torch.tensor([0.3, 0.02, 0.02, 0.02, 0.02, 0.02, *[0.1] * 5, 0.11])
    assert grpo.choices(probabilities.log(), GRID).item() == 11
    assert grpo.choices(probabilities.flip(0).log(), GRID).item() == 0


def test_score_of_the_choices_by_hand():
    table = profile(core_exp(4))
    dearest = torch.full((12,), -9.0).index_fill(0, torch.tensor([11]), 0.0)
    found = grpo.score_choices(
        lambda rows, budget: dearest.expand(*budget.shape, 12), table, torch.tensor([1, 3]), GRID, settings()
    )
    budgets = torch.linspace(12, 40, grpo.HELD_OUT_BUDGETS)
    late = torch.stack([table.latency_ms[row, 11] > budgets for row in (1, 3)]).float().mean()
    assert found["held_out_violation_rate"] == pytest.approx(late.item())
    assert found["held_out_accuracy"] == pytest.approx(table.accuracy[[1, 3], 11].mean().item())


def test_budget_code_tells_close_budgets_apart_smoothly():
    code = BudgetCode()(torch.linspace(0.3, 1.2, 91))
    assert code.shape == (91, CODE_SIZE)
    distances = [(a - b).norm().item() for a, b in pairwise(code)]
    assert min(distances) > 0.5
    far = torch.cdist(code, code)
    assert far[10, 20] > 2 * min(distances)
    assert max(distances) < 0.9 * code.norm(dim=1).min()
