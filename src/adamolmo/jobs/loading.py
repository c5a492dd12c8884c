"""From the study's settings to the objects that its jobs work with."""

from collections.abc import Sequence
from pathlib import Path

import torch

from adamolmo.backend.interface import Sizes
from adamolmo.backend.loading import decoding_on_gpu
from adamolmo.config import StudyConfig
from adamolmo.controllers.base import ControllerContext
from adamolmo.data.samples import Questions, Sample, check_failures, read_samples, split_readable
from adamolmo.data.scoring import SCORERS
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.model import Manifest
from adamolmo.files.policy import Fingerprint
from adamolmo.inference.answerable import answerable
from adamolmo.inference.clock import make_clock
from adamolmo.inference.device import describe_device
from adamolmo.inference.energy import EnergyCounter, find_energy_counter
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import KnobGrid


def load_engine(
    settings: StudyConfig, model_dir: Path, scores: Path | None = None, energy: EnergyCounter | None = None
) -> Engine:
    """The prepared model, ready for requests; `scores` rank the blocks. Raises AdaMolmoError for unfitting files, and
    for knobs that the model does not have."""
    engine = Engine.load(
        model_dir,
        scores,
        configs=settings.knobs.grid.configs,
        tiers=settings.knobs.tier_arguments,
        clock=make_clock(settings.latency.clock, settings.model.device),
        max_new_tokens=settings.max_new_tokens,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        dtype=getattr(torch, settings.model.dtype),
        device=settings.model.device,
        energy=energy,
    )
    _check_knobs(settings.knobs.grid, engine.backend.sizes)
    return engine


def _check_knobs(grid: KnobGrid, sizes: Sizes) -> None:
    """By the first job that loads the model, long before the last configuration's turn comes."""
    for key, values, most, what in (
        ("top_k", grid.top_k, sizes.num_experts, "experts"),
        ("num_active_blocks", grid.num_active_blocks, sizes.num_layers, "blocks"),
    ):
        if values[-1] > most:
            raise AdaMolmoError(f"knobs.{key} has {values[-1]}; this model has {most} {what}, expected at most that.")


def energy_counter(settings: StudyConfig) -> EnergyCounter | None:
    """For `load_engine`, where requests of the study are answered: the modelled clock has no energy."""
    return find_energy_counter(settings.model.device) if settings.latency.clock == "measured" else None


def load_questions(settings: StudyConfig, engine: Engine, dataset: str, path: Path) -> tuple[Questions, list[dict]]:
    """The usable questions of a split, and the others as {sample_id, reason}.

    Raises AdaMolmoError when more of them failed than `core_exp.max_failed_fraction` allows.
    """
    samples = read_samples(path)
    questions, failed = usable_questions(settings, engine, dataset, samples)
    check_failures(failed, len(samples), settings.core_exp.max_failed_fraction)
    return questions, failed


def usable_questions(
    settings: StudyConfig, engine: Engine, dataset: str, samples: Sequence[Sample]
) -> tuple[Questions, list[dict]]:
    """Those whose image can be read and whose prompt the model has room for; the others as {sample_id, reason}."""
    seen, unreadable = split_readable(samples, settings.samples.max_pixels)
    usable, too_long = answerable(engine, seen, settings.datasets[dataset].style)
    return questions_of(settings, dataset, usable), unreadable + too_long


def questions_of(settings: StudyConfig, dataset: str, samples: Sequence[Sample]) -> Questions:
    """Samples of a dataset, asked and scored as the configuration says."""
    of_dataset = settings.datasets[dataset]
    return Questions(samples, of_dataset.style, SCORERS[of_dataset.scorer])


def batch_limits(settings: StudyConfig) -> BatchLimits:
    return BatchLimits(settings.core_exp.batch_size, settings.core_exp.memory_bytes)


def study_fingerprint(settings: StudyConfig, model_dir: Path, device: dict) -> Fingerprint:
    """What a trained policy must fit: grid, model, clock and device, which the profile was made on."""
    return Fingerprint(
        grid=settings.knobs.grid,
        model_checksum=read_json(model_dir / "manifest.json", Manifest).checksum,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        clock=settings.latency.clock,
        device=device,
    )


def study_device(settings: StudyConfig, model_dir: Path) -> dict:
    """The device at hand, as an engine of the study would describe it."""
    return describe_device(settings.model.device, settings.latency.clock, decoding_on_gpu(model_dir))


def controller_context(settings: StudyConfig, model_dir: Path, dataset: str) -> ControllerContext:
    """Where the controllers of a study are loaded from, and what they must fit on the device at hand.

    Args:
        model_dir: the prepared model; the study's other results are beside it.
        dataset: whose lookup tables are used.
    """
    return ControllerContext(
        fingerprint=study_fingerprint(settings, model_dir, study_device(settings, model_dir)),
        results=model_dir.parent,
        dataset=dataset,
        lookup_tolerance=settings.lookup.tolerance,
        lookup_pooled=settings.lookup.pooled,
        torch_device=settings.model.device,
        dtype=settings.model.dtype,
    )
