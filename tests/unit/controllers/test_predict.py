"""Predictors, on made-up profiles where what a feature tells is known, through training and loading to decisions."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from policies import (
    EXPECTED,
    FINGERPRINT,
    GRID,
    LATENCY_MS,
    SIZE,
    ask,
    context,
    dearer_is_better,
    design_of,
    load_named,
    settings,
    write_lookup,
)

from adamolmo.controllers import predict
from adamolmo.controllers.base import Design
from adamolmo.controllers.choosing import best_within
from adamolmo.controllers.registry import CONTROLLERS
from adamolmo.controllers.training import outcome_model
from adamolmo.controllers.training.features import Readings
from adamolmo.controllers.training.reward import Profile
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.errors import AdaMolmoError
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.training import PREDICTOR_TRAINING, RELIABILITY
from adamolmo.inference.controller import Limit, RequestSize, Stage1Inputs

NAMES = [name for name in CONTROLLERS if name.startswith("predict-")]
HIGH = np.array([config.tier == "high" for config in GRID.configs])
PRICES = np.geomspace(1e-3, 0.3, 10)  # per ms
FITTING = {"steps": 200, "patience": 4}


def questions(num: int, seed: int, planted: bool) -> tuple[TrainingSet, np.ndarray]:
    """Three on each image, and the chances behind their outcomes. Planted: half of the questions need the high tier,
    and some of their features say so. Otherwise dearer configurations are a little better for all."""
    rng = np.random.default_rng(seed)
    seen, kind = rng.normal(size=(num, 16)), rng.choice([-1.0, 1.0], num)[:, None]
    if planted:
        seen[:, :8] += 2 * kind
        chance = np.where((kind > 0) & ~HIGH, 0.1, 0.9)
    else:
        chance = np.tile(0.5 + 0.02 * np.arange(18), (num, 1))
    names = [(("okvqa", "text_vqa")[row % 2], f"s{row:04}") for row in range(num)]
    images = [(dataset, f"i{row // 6}") for row, (dataset, _) in enumerate(names)]
    profile = Profile(
        tuple(names),
        tuple(images),
        torch.from_numpy((rng.random((num, 18)) < chance).astype("float32")),
        torch.from_numpy(LATENCY_MS * rng.normal(1, 0.03, (num, 18))).float(),
        torch.from_numpy(LATENCY_MS).float().expand(num, -1),
        *(torch.full((num, 2), float(of_request)) for of_request in SIZE),
        torch.ones(num, 18),
        torch.tensor([11.0, 36.0]).expand(num, -1),
    )
    question, overview = torch.from_numpy(seen).float(), torch.from_numpy(rng.normal(size=(num, 8))).float()
    readings = Readings(question, overview, torch.zeros(num, 1))
    return TrainingSet(FINGERPRINT, profile, readings, EXPECTED, SimpleNamespace(device="cpu"), {}, []), chance


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Callable[[str, bool], Path]:
    """The directory of a study in which this controller was trained, by whether there is something to find."""

    @cache
    def study(name: str, planted: bool) -> Path:
        directory = tmp_path_factory.mktemp(name)
        trained(name, directory, questions(600, 0, planted)[0])
        return directory

    return study


def trained(name, directory, data, overhead_ms=0.0, **changes):
    """The controller of the dataset okvqa."""
    by_tier = dict.fromkeys(GRID.tiers, overhead_ms)
    log = predict.train(
        name, directory / "controllers" / name, data, lambda controller: by_tier, settings(**FITTING | changes), 0
    )
    write_table(log, directory / "training.parquet", PREDICTOR_TRAINING)
    write_lookup(directory, data.profile.accuracy.double().numpy().mean(axis=0))
    return load_named(name, context(directory))


def choices(controller, data, limit) -> np.ndarray:
    inputs = Stage1Inputs(limit, size=RequestSize((SIZE[0],) * 2, (SIZE[1],) * 2))
    rows = zip(data.readings.question, data.readings.overview, strict=True)
    decisions = [controller.predict_stage1(replace(inputs, question=q[None], overview=o[None])) for q, o in rows]
    places = {(c.tier, (c.top_k, c.num_active_blocks)): place for place, c in enumerate(GRID.configs)}
    return np.array([places[decision.tier, decision.decoder] for decision in decisions])


def at_prices(chance: np.ndarray, choose: Callable[[Limit], np.ndarray]) -> list[tuple[float, float]]:
    """(mean latency, expected accuracy) of the choices at several prices."""
    rows = np.arange(len(chance))
    chosen = [choose(Limit(price_per_ms=price)) for price in PRICES]
    return [(LATENCY_MS[c].mean(), chance[rows, c].mean()) for c in chosen]


def accuracy_at(target_ms: float, points: Iterable[tuple[float, float]]) -> float:
    """The best that a mixture of two (latency, accuracy) points has at this mean latency."""
    best, points = 0.0, list(points)
    for (ms, accuracy), (other_ms, other) in product(points, points):
        if ms <= target_ms < other_ms:
            best = max(best, accuracy + (target_ms - ms) / (other_ms - ms) * (other - accuracy))
    return best


@pytest.mark.parametrize("name", NAMES)
def test_finds_most_of_what_a_planted_feature_is_worth(name, studies):
    controller = load_named(name, context(studies(name, True)))
    fresh, chance = questions(200, 1, planted=True)
    table = accuracy_at(15.0, zip(LATENCY_MS, chance.mean(axis=0), strict=True))
    ours = accuracy_at(15.0, at_prices(chance, lambda limit: choices(controller, fresh, limit)))
    assert 0.9 - table > 0.1  # what knowing the feature is worth
    assert ours - table > 0.8 * (0.9 - table)


@pytest.mark.parametrize("name", NAMES)
def test_features_that_tell_nothing_neither_gain_nor_lose(name, studies):
    controller = load_named(name, context(studies(name, False)))
    fresh, chance = questions(200, 1, planted=False)
    for budget_ms in (12.5, 16.0, 21.0, 40.0):
        ours = choices(controller, fresh, Limit(budget_ms))
        tables = best_within(controller.accuracy, LATENCY_MS, budget_ms, 0.0)
        assert abs(chance[0, ours].mean() - chance[0, tables]) <= 0.005


def test_predictions_come_true(studies):
    directory = studies("predict-question", True)
    shown, _ = read_table(directory / "controllers/predict-question/reliability.parquet", RELIABILITY)
    error = (shown["predicted"] - shown["observed"]).abs() * shown["num_predictions"]
    assert error.sum() / shown["num_predictions"].sum() < 0.03
    assert shown["predicted"].max() - shown["predicted"].min() > 0.6
    assert shown["num_predictions"].sum() == 600 * 18
    assert (shown["observed_low"] <= shown["observed"]).all()
    assert (shown["observed"] <= shown["observed_high"]).all()


@pytest.mark.parametrize("planted", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_never_worse_than_the_table_on_held_out_images(name, planted, studies):
    training = json.loads((studies(name, planted) / f"controllers/{name}/policy.json").read_text())["training"]
    assert training["held_out_loss"] <= training["held_out_loss_of_table"]
    assert (training["held_out_loss"] < 0.95 * training["held_out_loss_of_table"]) == planted


def test_a_dataset_that_was_not_trained_on_starts_from_its_own_table(studies, tmp_path):
    """There nothing but the last configuration is ever right, so it is worth almost any price."""
    shutil.copytree(studies("predict-question", True), tmp_path, dirs_exist_ok=True)
    write_lookup(tmp_path, np.eye(18)[-1], dataset="other")
    elsewhere = load_named("predict-question", replace(context(tmp_path), dataset="other"))
    assert (choices(elsewhere, questions(30, 1, planted=True)[0], Limit()) == 17).all()


def test_its_own_time_is_part_of_the_request(studies):
    controller = load_named("predict-question", context(studies("predict-question", True)))
    controller.accuracy, controller.table = np.eye(18)[-1], torch.eye(18)[-1:]
    controller.predictor.trust.budgets.fill_(1.0)
    fresh, full_just_fits = questions(20, 1, planted=True)[0], Limit(float(LATENCY_MS[-1]) + 0.01)
    assert (choices(controller, fresh, full_just_fits) == 17).all()
    controller.overheads_ms = np.repeat([1.0, 0.0], 9)  # at the other tier
    assert (choices(controller, fresh, full_just_fits) == 17).all()
    controller.overheads_ms = np.repeat([0.0, 1.0], 9)
    assert (choices(controller, fresh, full_just_fits) != 17).all()


def test_the_table_chooses_where_predictions_gained_nothing(studies):
    controller = load_named("predict-question", context(studies("predict-question", True)))
    fresh, limit = questions(40, 1, planted=True)[0], Limit(price_per_ms=0.02)
    assert len(set(choices(controller, fresh, limit).tolist())) > 1
    controller.predictor.trust.prices.fill_(-0.01)
    table = best_within(controller.accuracy, LATENCY_MS, np.inf, 0.02)
    assert (choices(controller, fresh, limit) == table).all()


@pytest.mark.parametrize("name", NAMES)
def test_where_predictions_do_not_earn_their_time_nothing_is_read(name, tmp_path):
    learned_from = questions(600, 0, planted=True)[0]
    for overhead_ms, pays in ((0.0, True), (1.0, True), (40.0, False)):
        controller = trained(name, tmp_path / str(overhead_ms), learned_from, overhead_ms=overhead_ms)
        limits = [Limit(price_per_ms=price) for price in PRICES if price > 0] + [Limit(ms) for ms in (12.5, 16, 21, 40)]
        assert any(controller.reads(limit) > {"size"} for limit in limits) == pays
        assert all(controller.reads(limit) >= {"size"} for limit in limits)


@pytest.mark.parametrize("name", NAMES)
def test_with_its_own_time_counted_it_is_nowhere_worse_than_the_table(name, tmp_path):
    overhead_ms, rows = 2.0, np.arange(200)
    controller = trained(name, tmp_path, questions(600, 0, planted=True)[0], overhead_ms=overhead_ms)
    fresh, chance = questions(200, 1, planted=True)
    for price in (price for price in PRICES if price > 0):
        limit = Limit(price_per_ms=price)
        own_ms = overhead_ms if controller.reads(limit) > {"size"} else 0.0
        chosen, tables = choices(controller, fresh, limit), best_within(controller.accuracy, LATENCY_MS, np.inf, price)
        ours = (chance[rows, chosen] - price * (LATENCY_MS[chosen] + own_ms)).mean()
        assert ours >= (chance[rows, tables] - price * LATENCY_MS[tables]).mean() - 0.005


@pytest.mark.parametrize("name", NAMES)
def test_training_twice_gives_identical_files(name, tmp_path):
    contents = []
    for run in ("a", "b"):
        torch.rand(1)
        trained(name, tmp_path / run, questions(120, 0, planted=True)[0], steps=20)
        directory = tmp_path / run / "controllers" / name
        contents.append([path.read_bytes() for path in sorted(directory.iterdir())])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", NAMES)
def test_decides_in_the_engine_as_from_stored_features(name, tiny_engine, tiny_samples, data, tmp_path):
    prepared = data(lambda index, config: float(dearer_is_better(index, config) > 0.3 + 0.05 * (index % 5)))
    sizes = [tiny_engine.request_size(sample.open_image(), []).num_crops for sample in tiny_samples]
    prepared = replace(prepared, profile=replace(prepared.profile, num_crops=torch.tensor(sizes * 2).float()))
    controller = trained(name, tmp_path, prepared, steps=60)
    controller.predictor.trust.budgets.fill_(1.0)
    assert design_of(name) == Design(controller.reads(Limit(20.0)))
    table = controller.table
    probability = controller.predictor.outcome(predict.features_of(name, prepared)[:10], table).detach().numpy()
    for row, sample in enumerate(tiny_samples):
        for budget_ms in (12.5, 21.0, 40.0):
            expected = best_within(probability[row], LATENCY_MS, budget_ms, 0.0)
            chosen = GRID.configs.index(ask(tiny_engine, sample, controller, budget_ms))
            assert probability[row, chosen] == pytest.approx(probability[row, expected], abs=1e-5)  # ties by rounding
            assert LATENCY_MS[chosen] <= budget_ms


def test_folds_keep_images_together_and_need_enough_of_them():
    fold = outcome_model.folds_by_image([f"i{row // 3}" for row in range(60)], 0.2, seed=0)
    assert set(fold.tolist()) == set(range(5))
    assert (fold.view(20, 3) == fold.view(20, 3)[:, :1]).all()
    with pytest.raises(
        AdaMolmoError, match=r"training.held_out is 0.2 and the profile has 2 images; expected at least 5"
    ):
        outcome_model.folds_by_image(["a", "b", "a"], 0.2, seed=0)


def test_best_within_by_hand():
    accuracy, ms = np.array([0.5, 0.7, 0.7, 0.9]), np.array([10.0, 14.0, 12.0, 20.0])
    assert best_within(accuracy, ms, np.inf, 0.0) == 3
    assert best_within(accuracy, ms, 15.0, 0.0) == 2  # as accurate as 1, and faster
    assert best_within(accuracy, ms, 12.0, 0.0) == 2
    assert best_within(accuracy, ms, 5.0, 0.0) == 0  # none fits: the fastest
    assert best_within(accuracy, ms, np.inf, 0.03) == 2  # 8 ms for 0.2 are too dear
    rows = best_within(np.stack([accuracy] * 2), np.stack([ms, 2 * ms]), np.array([[15.0], [15.0]]), 0.0)
    assert rows.tolist() == [2, 0]
