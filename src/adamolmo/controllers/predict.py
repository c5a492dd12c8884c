"""Controllers that predict how likely every configuration answers this request right, and then take the best that the
limit leaves.

There is no policy and no reward: predictions know nothing of budgets, so they serve every kind of limit, also such as
nobody thought of when they were fitted. What a configuration costs is not predicted but known (`expected_latency`), the
time of the prediction itself included. At limits at which predictions do not pay (`outcome_trust`) the request is not
read, and the table chooses.

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
from adamolmo.controllers.lookup_sized import SIZE, load_dataset, mean_full_ms
from adamolmo.controllers.policy_file import load_card, load_weights, save_policy
from adamolmo.controllers.training.learned import OverheadMs
from adamolmo.controllers.training.outcome_model import OutcomeModel, Outcomes, calibrate, folds_by_image
from adamolmo.controllers.training.outcome_neighbours import OutcomeNeighbours
from adamolmo.controllers.training.outcome_networks import OutcomeNetworks
from adamolmo.controllers.training.outcome_trust import HeldOut, Trust
from adamolmo.controllers.training.reliability import reliability
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.files.policy import PredictorArchitecture, PredictorCard, of_configs
from adamolmo.files.schema import write_table
from adamolmo.files.training import PREDICTOR_TRAINING, RELIABILITY
from adamolmo.inference.controller import Controller, Decision, Limit, Reading, Stage1Inputs

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
    """All that is fitted of a controller."""

    def __init__(self, name: str, architecture: PredictorArchitecture):
        super().__init__()
        model = OutcomeNeighbours if name == "predict-neighbours" else OutcomeNetworks
        self.outcome: OutcomeModel = model(architecture.dim, architecture.num_configs, architecture.num_parts)
        self.trust = Trust()


class PredictController(Controller):
    """The configuration with the highest probability of a right answer within the limit, less the price of its time.

    Args:
        accuracy: the table of the dataset at hand, [configurations].
        latency: of its requests.
        full_ms: mean of its requests in the full configuration.
    """

    heeds_price = True

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        card: PredictorCard,
        accuracy: np.ndarray,
        latency: ExpectedLatency,
        full_ms: float,
        device: str | torch.device,
    ):
        self.name = name
        self.predictor = predictor.eval()
        self.predictor.outcome.to(device)
        self.table = torch.from_numpy(accuracy).float()[None].to(device)
        self.accuracy = accuracy
        self.latency = latency
        self.full_ms = full_ms
        self.overheads_ms = np.array(card.overheads_ms)
        self.decisions = [Decision.of(config) for config in card.fingerprint.grid.configs]
        self._reads = frozenset(_READS[name])

    def reads(self, limit: Limit):
        return self._reads if self.predictor.trust(limit, self.full_ms) else SIZE

    @torch.inference_mode()
    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        expected_ms = self.latency(inputs.size.num_crops, inputs.size.input_tokens)
        accuracy = self.accuracy
        if self.predictor.trust(inputs.limit, self.full_ms):
            accuracy = self.predictor.outcome(self._features(inputs), self.table)[0].cpu().numpy()
            expected_ms = expected_ms + self.overheads_ms
        return self.decisions[best_within(accuracy, expected_ms, inputs.limit.budget_ms, inputs.limit.price_per_ms)]

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
    card = load_card(directory, context.fingerprint, PredictorCard)
    predictor = load_weights(directory, lambda: Predictor(name, card.architecture))
    return PredictController(name, predictor, card, *load_dataset(context), mean_full_ms(context), context.torch_device)


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
    architecture = PredictorArchitecture(
        dim=outcomes.features.shape[1],
        num_configs=num_configs,
        num_parts=num_questions if name == "predict-neighbours" else outcomes.num_folds,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = Predictor(name, architecture)
        log, correction = predictor.outcome.fit(outcomes, settings, seed)
    probability, losses = calibrate(predictor.outcome, outcomes, correction)

    table = outcomes.table(torch.ones(num_questions, dtype=torch.bool))[0].double().numpy()
    card = PredictorCard(
        controller=name, fingerprint=data.fingerprint, architecture=architecture, scale_ms=1.0, training={}
    )
    predictor.trust.budgets.fill_(1)  # so that what is timed is a prediction
    latency, full_ms = data.expected[profile.datasets[0]], profile.mean_full_ms.numpy()
    added_ms = overhead_ms(PredictController(name, predictor, card, table, latency, full_ms[0], data.device))
    overheads_ms = np.array(of_configs(added_ms, data.fingerprint.grid))
    held_out = (probability, outcomes.held_out_tables(), profile.accuracy, profile.expected_ms)
    predictor.trust.fit(HeldOut(*(of.double().numpy() for of in held_out), profile.images), full_ms, overheads_ms)

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
