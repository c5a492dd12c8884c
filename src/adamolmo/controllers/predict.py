"""Controllers that predict how likely every configuration answers this request right, and then take the best that the
limit leaves.

There is no policy and no reward: predictions know nothing of budgets, so they serve every kind of limit, also such as
nobody thought of when they were fitted. What a configuration costs is not predicted but known (`expected_latency`), the
time of the prediction itself included.

`predict-question` reads the question, `predict-overview` also the overview crop; `predict-neighbours` reads the same
and asks the most similar profiled questions instead of a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.choosing import best_within
from adamolmo.controllers.lookup_sized import load_dataset
from adamolmo.controllers.policy_file import load_card, load_weights, save_policy
from adamolmo.controllers.training.learned import OverheadMs
from adamolmo.controllers.training.outcome_model import OutcomeModel, Outcomes, calibrate, folds_by_image
from adamolmo.controllers.training.outcome_neighbours import OutcomeNeighbours
from adamolmo.controllers.training.outcome_networks import OutcomeNetworks
from adamolmo.controllers.training.outcome_trust import Trust
from adamolmo.controllers.training.reliability import reliability
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.files.policy import PolicyCard
from adamolmo.files.schema import write_table
from adamolmo.files.training import PREDICTOR_TRAINING, RELIABILITY
from adamolmo.inference.controller import Controller, Decision, Reading, Stage1Inputs

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import TrainingSettings

LOG = PREDICTOR_TRAINING
_READS: dict[str, tuple[Reading, ...]] = {
    "predict-question": ("size", "question"),
    "predict-overview": ("size", "question", "overview"),
    "predict-neighbours": ("size", "question", "overview"),
}


class Predictor(nn.Module):
    """All that is fitted of a controller.

    Args:
        architecture: dim, num_configs and num_parts, which are folds, or the profiled questions of the neighbours.
    """

    def __init__(self, name: str, architecture: dict):
        super().__init__()
        model = OutcomeNeighbours if name == "predict-neighbours" else OutcomeNetworks
        self.outcome: OutcomeModel = model(architecture["dim"], architecture["num_configs"], architecture["num_parts"])
        self.trust = Trust()


class PredictController(Controller):
    """The configuration with the highest probability of a right answer within the limit, less the price of its time.

    Args:
        accuracy: the table of the dataset at hand, [configurations].
        overhead_ms: what deciding adds to every configuration's latency.
    """

    heeds_price = True

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        card: PolicyCard,
        accuracy: np.ndarray,
        latency: ExpectedLatency,
        device: str | torch.device,
    ):
        self.name = name
        self.predictor = predictor.eval()
        self.predictor.outcome.to(device)
        self.table = torch.from_numpy(accuracy).float()[None].to(device)
        self.accuracy = accuracy
        self.latency = latency
        self.overhead_ms = card.overhead_ms
        self.decisions = [Decision.of(config) for config in card.fingerprint.grid.configs]
        self.full = len(self.decisions) - 1
        self._reads = frozenset(_READS[name])

    def reads(self, budget_ms: float):
        return self._reads

    @torch.inference_mode()
    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        limit = inputs.limit
        expected_ms = self.latency(inputs.size.num_crops, inputs.size.input_tokens) + self.overhead_ms
        accuracy = self.accuracy
        if self.predictor.trust(expected_ms[self.full], limit.budget_ms, limit.price_per_ms):
            accuracy = self.predictor.outcome(self._features(inputs), self.table)[0].cpu().numpy()
        return self.decisions[best_within(accuracy, expected_ms, limit.budget_ms, limit.price_per_ms)]

    def _features(self, inputs: Stage1Inputs) -> Tensor:
        """[1, dim]"""
        size = torch.tensor([inputs.size.num_crops], dtype=torch.float32, device=self.table.device)
        seen = [getattr(inputs, reading) for reading in _READS[self.name][1:]]
        return torch.cat([size, *seen], dim=1)


def features_of(name: str, data: TrainingSet) -> Tensor:
    """What the predictor sees of every row, as `PredictController._features` sees it of a request: [rows, dim]."""
    seen = [getattr(data.readings, reading).cpu() for reading in _READS[name][1:]]
    return torch.cat([data.profile.num_crops, *seen], dim=1)


def design(name: str) -> Design:
    return Design(frozenset(_READS[name]))


def load(name: str, context: ControllerContext) -> PredictController:
    """Starts from the table of the context's dataset, whether or not the predictor was fitted to it.

    Raises AdaMolmoError when a file is unusable or the predictor was fitted for another study.
    """
    directory = context.results / "controllers" / name
    card = load_card(directory, context.fingerprint)
    predictor = Predictor(name, card.architecture)
    load_weights(directory, predictor)
    return PredictController(name, predictor, card, *load_dataset(context), context.torch_device)


def train(
    name: str, directory: Path, data: TrainingSet, overhead_ms: OverheadMs, settings: TrainingSettings, seed: int
) -> DataFrame:
    """Fits a predictor, writes it and its reliability to `directory` and returns the training log.

    Args:
        overhead_ms: what a controller adds to a request's latency; the expected latencies know nothing of it.
    """
    profile = data.profile
    fold = folds_by_image(profile.images, settings.held_out, seed)
    outcomes = Outcomes(features_of(name, data), profile.accuracy, profile.dataset, fold)
    num_questions, num_configs = profile.accuracy.shape
    architecture = {
        "dim": outcomes.features.shape[1],
        "num_configs": num_configs,
        "num_parts": num_questions if name == "predict-neighbours" else outcomes.num_folds,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = Predictor(name, architecture)
        log, correction = predictor.outcome.fit(outcomes, settings, seed)
    probability, losses = calibrate(predictor.outcome, outcomes, correction)

    table = outcomes.table(torch.ones(num_questions, dtype=torch.bool))[0].double().numpy()
    card = PolicyCard(
        controller=name, fingerprint=data.fingerprint, architecture=architecture, scale_ms=1.0, training={}
    )
    predictor.trust.budgets.fill_(1)  # so that what is timed is a prediction
    latency = data.expected[profile.datasets[0]]
    added_ms = overhead_ms(PredictController(name, predictor, card, table, latency, data.device))
    expected_ms = profile.expected_ms + added_ms
    predictor.trust.fit(probability, outcomes.held_out_tables(), profile.accuracy, expected_ms, profile.images)

    training = {
        "settings": settings.model_dump(),
        "seed": seed,
        "num_learned": num_questions,
        "num_folds": outcomes.num_folds,
        "steps": int(log["step"].iloc[-1]),
        "strength": predictor.outcome.strength.item(),
        **losses,
        "overhead_ms": added_ms,
    }
    save_policy(directory, predictor, card.model_copy(update={"training": training}))
    shown = reliability(probability, profile.accuracy, profile.images)
    write_table(shown, directory / "reliability.parquet", RELIABILITY, {"controller": name, "seed": seed})
    return log
