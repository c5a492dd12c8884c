"""The profile of a study joined with what controllers read of every question, from the files of the rules."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adamolmo.backend.loading import load_budget_prefix
from adamolmo.config import StudyConfig
from adamolmo.controllers.training.features import Features
from adamolmo.controllers.training.reward import COLUMNS, Profile
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.jobs.loading import study_fingerprint


def add_training_data(parser: ArgumentParser) -> None:
    """The files of `load_training_set`, one per dataset each."""
    for name, meaning in (("core-exp", "profiles"), ("latency", "expected latencies"), ("features", "features")):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, help=f"{meaning}, one file per dataset")


def load_training_set(
    settings: StudyConfig,
    model_dir: Path,
    core_exp: Sequence[Path],
    latency: Sequence[Path],
    features: Sequence[Path],
    budgets_ms: Mapping[str, tuple[float, float]],
) -> TrainingSet:
    """Args:
        budgets_ms: by dataset, the lowest and the highest budget that rewards are drawn for.

    Raises AdaMolmoError for files that are unusable or do not belong together.
    """
    table, shared = read_profiles(core_exp, COLUMNS)
    fingerprint, model = study_fingerprint(settings, model_dir, shared["device"]), settings.model
    expected = {path.stem: expected_latency.load(path, fingerprint.grid) for path in latency}
    return TrainingSet.join(
        fingerprint,
        Profile.from_frame(table, fingerprint.grid, budgets_ms, expected),
        {path.stem: Features(path) for path in features},
        expected,
        load_budget_prefix(model_dir, model.fixed_prefix_layers, getattr(torch, model.dtype), model.device),
    )
