"""From the study's settings to the objects that its jobs work with."""

from pathlib import Path

import torch

from adamolmo.config import StudyConfig
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.fingerprint import Fingerprint
from adamolmo.files.model import MANIFEST
from adamolmo.files.schema import read_json
from adamolmo.inference.clock import make_clock
from adamolmo.inference.engine import Engine


def load_engine(settings: StudyConfig, model_dir: Path, scores: Path | None = None) -> Engine:
    """The prepared model, ready for requests; `scores` rank the blocks. Raises AdaMolmoError for unfitting files."""
    return Engine.load(
        model_dir,
        scores,
        configs=settings.knobs.grid.configs,
        tiers=settings.knobs.crop_ranges,
        clock=make_clock(settings.latency.clock, settings.model.device),
        max_new_tokens=settings.max_new_tokens,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        dtype=getattr(torch, settings.model.dtype),
        device=settings.model.device,
    )


def study_fingerprint(settings: StudyConfig, model_dir: Path, device: dict) -> Fingerprint:
    """What a trained policy must fit: grid, model, clock and device."""
    return Fingerprint(
        grid=settings.knobs.grid,
        model_checksum=read_json(model_dir / "manifest.json", MANIFEST)["checksum"],
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        clock=settings.latency.clock,
        device=device,
    )


def controller_context(settings: StudyConfig, model_dir: Path, dataset: str, device: dict) -> ControllerContext:
    """Where the controllers of a study are loaded from, and what they must fit.

    Args:
        model_dir: the prepared model; the study's other results are beside it.
        dataset: whose lookup tables are used.
        device: description of the device at hand.
    """
    return ControllerContext(
        fingerprint=study_fingerprint(settings, model_dir, device),
        results=model_dir.parent,
        dataset=dataset,
        lookup_tolerance=settings.lookup.tolerance,
        lookup_pooled=settings.lookup.pooled,
        torch_device=settings.model.device,
        dtype=settings.model.dtype,
    )
