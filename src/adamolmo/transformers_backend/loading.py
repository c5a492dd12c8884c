"""A model of transformers from its files: prepared once, then loaded by every job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adamolmo.backend.prepared import Prepared
from adamolmo.files.documents import write_json
from adamolmo.files.model import WORK_FILE
from adamolmo.transformers_backend.backend import TransformersBackend
from adamolmo.transformers_backend.budget_prefix import BudgetPrefix
from adamolmo.transformers_backend.copying import copy_checkpoint
from adamolmo.transformers_backend.costs import CostModel
from adamolmo.transformers_backend.decoder import Decoder
from adamolmo.transformers_backend.library import transformers
from adamolmo.transformers_backend.processing import Pictures, Texts
from adamolmo.transformers_backend.self_check import self_check
from adamolmo.transformers_backend.weights import end_ids, load_config, load_first_layers, load_model, read_family
from adamolmo.transformers_backend.work import load_work, measure_work

BACKEND = TransformersBackend
_OWN_TIER = {"own": {}}  # images as the checkpoint's own settings have them


def import_code(directory: Path) -> None:
    """The library imports a family's classes when they are asked for."""
    family = read_family(directory)
    for name in (family.model_class, family.image_processor):
        getattr(transformers, name)


def prepare(checkpoint: Path, output: Path, dtype: torch.dtype, fixed_prefix_layers: int) -> Prepared:
    """Stores the checkpoint as one file of weights, checks the model and measures what it does.

    Raises AdaMolmoError for an unusable checkpoint, and for a model that fails its self-check.
    """
    family = read_family(checkpoint)
    files = copy_checkpoint(checkpoint, output, family, dtype)
    backend = load(output, tiers=_OWN_TIER, fixed_prefix_layers=fixed_prefix_layers, dtype=dtype)
    checks = self_check(backend)
    write_json(measure_work(backend.decoder, backend.pictures), output / WORK_FILE)
    num_parameters, num_blocks = backend.costs.num_weights(), backend.sizes.num_layers
    return Prepared(family.model_type, num_parameters, num_blocks, (*files, WORK_FILE), checks)


def load(
    directory: Path,
    *,
    tiers: Mapping[str, Mapping[str, Any]],
    fixed_prefix_layers: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> TransformersBackend:
    """Of a checkpoint directory, prepared or not.

    Args:
        tiers: arguments of the image processor's call by name, cheapest first.

    Raises AdaMolmoError for anything in the directory or the arguments that the model cannot be run with.
    """
    family = read_family(directory)
    config = load_config(directory, family, fixed_prefix_layers)
    texts, pictures = Texts(directory, family, config), Pictures(directory, family, config, tiers)
    ends = end_ids(directory, config)  # before the weights, as all that is read fast
    decoder = Decoder(load_model(directory, family, config, dtype, device), family, fixed_prefix_layers)
    costs = CostModel(decoder, load_work(directory, decoder, pictures))
    return TransformersBackend(decoder, texts, pictures, costs, ends)


def load_budget_prefix(
    directory: Path, fixed_prefix_layers: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> BudgetPrefix:
    """The layers of the fixed prefix alone. Raises AdaMolmoError as `load`."""
    family = read_family(directory)
    return BudgetPrefix(load_first_layers(directory, family, fixed_prefix_layers, dtype, device), family)
