"""MolmoE from its files: prepared once, then loaded by every job."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adamolmo.backend.prepared import Prepared
from adamolmo.errors import AdaMolmoError
from adamolmo.model.backend import MolmoEBackend
from adamolmo.model.budget_prefix import FixedPrefix
from adamolmo.model.checkpoint import PREPARED_FILES, load_model, prepare_checkpoint
from adamolmo.model.preprocess import CropRange
from adamolmo.model.self_check import self_check
from adamolmo.model.tokenizer import Tokenizer

BACKEND = MolmoEBackend


def import_code(directory: Path) -> None:
    """Importing this module has imported all."""


def prepare(checkpoint: Path, output: Path, dtype: torch.dtype, fixed_prefix_layers: int) -> Prepared:
    """Raises AdaMolmoError for an unusable checkpoint."""
    stored = prepare_checkpoint(checkpoint, output, dtype, fixed_prefix_layers)
    num_parameters = sum(map(math.prod, stored.shapes.values()))
    checks = self_check(load_model(output, fixed_prefix_layers, dtype), Tokenizer.load(output))
    return Prepared("molmo", num_parameters, stored.config.num_layers, PREPARED_FILES, checks)


def load(
    directory: Path,
    *,
    tiers: Mapping[str, Mapping[str, Any]],
    fixed_prefix_layers: int,
    dtype: torch.dtype,
    device: str,
) -> MolmoEBackend:
    """Of a checkpoint directory of any layout.

    Args:
        tiers: `min_crops` and `max_crops` of each vision tier, cheapest first.

    Raises AdaMolmoError for an unusable checkpoint, and for tiers of another kind of model.
    """
    crop_ranges = {name: _crop_range(name, arguments) for name, arguments in tiers.items()}
    model = load_model(directory, fixed_prefix_layers, dtype, device)
    return MolmoEBackend(model, Tokenizer.load(directory).fitting(model.config), crop_ranges)


def load_budget_prefix(directory: Path, fixed_prefix_layers: int, dtype: torch.dtype, device: str) -> FixedPrefix:
    """Raises AdaMolmoError for an unreadable or unfitting checkpoint."""
    return FixedPrefix.load(directory, fixed_prefix_layers, dtype, device)


def _crop_range(name: str, arguments: Mapping[str, Any]) -> CropRange:
    if set(arguments) != {"min_crops", "max_crops"}:
        raise AdaMolmoError(
            f"knobs.tiers.{name} has {', '.join(arguments)}; MolmoE cuts images into crops, expected min_crops and "
            "max_crops."
        )
    return CropRange(**arguments)
