"""From the study's settings to the objects that its jobs work with."""

from pathlib import Path

import torch

from adamolmo.config import StudyConfig
from adamolmo.config.model import KnobSettings
from adamolmo.controllers.base import ControllerContext, KnobGrid, Study
from adamolmo.files.model import MANIFEST
from adamolmo.files.schema import read_json
from adamolmo.inference.engine import Engine
from adamolmo.inference.latency import make_clock


def load_engine(settings: StudyConfig, model_dir: Path, scores: Path | None = None) -> Engine:
    """The prepared model, ready for requests; `scores` rank the blocks. Raises AdaMolmoError for unfitting files."""
    return Engine.load(
        model_dir,
        scores,
        tiers=settings.knobs.crop_ranges,
        clock=make_clock(settings.latency.clock, settings.model.device),
        max_new_tokens=settings.max_new_tokens,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        dtype=getattr(torch, settings.model.dtype),
        device=settings.model.device,
    )


def knob_grid(knobs: KnobSettings) -> KnobGrid:
    return KnobGrid(tuple(knobs.tiers), tuple(knobs.top_k), tuple(knobs.num_active_blocks))


def describe_study(settings: StudyConfig, model_dir: Path, device: dict) -> Study:
    """What a trained policy must fit: grid, model, clock and device."""
    return Study(
        grid=knob_grid(settings.knobs),
        model_checksum=read_json(model_dir / "manifest.json", MANIFEST)["checksum"],
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        clock=settings.latency.clock,
        device=device,
    )


def controller_context(settings: StudyConfig, results: Path, dataset: str, device: dict) -> ControllerContext:
    """Where the controllers of a study are loaded from, and what they must fit.

    Args:
        results: directory of the study's results.
        dataset: whose lookup tables are used.
        device: description of the device at hand.
    """
    return ControllerContext(
        study=describe_study(settings, results / "model", device),
        results=results,
        dataset=dataset,
        lookup_tolerance=settings.lookup.tolerance,
        lookup_pooled=settings.lookup.pooled,
        torch_device=settings.model.device,
        dtype=settings.model.dtype,
    )
