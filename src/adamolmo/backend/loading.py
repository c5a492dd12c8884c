"""Which code runs a checkpoint: the architecture that its configuration names decides.

The modules are imported when a model of theirs is used, not before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adamolmo.backend.prepared import check_prepared
from adamolmo.errors import AdaMolmoError, quoted

if TYPE_CHECKING:
    import torch

    from adamolmo.backend.interface import Backend, BudgetPrefix
    from adamolmo.backend.prepared import Prepared

_TRANSFORMERS = "adamolmo.transformers_backend.loading"
_MODULES = {
    "molmo": "adamolmo.model.loading",
    "qwen3_vl_moe": _TRANSFORMERS,
    "glm4v_moe": _TRANSFORMERS,
    "aria": _TRANSFORMERS,
    "ernie4_5_vl_moe": _TRANSFORMERS,
    "deepseek_ocr2": _TRANSFORMERS,
}


def prepare(checkpoint: Path, output: Path, dtype: torch.dtype, fixed_prefix_layers: int) -> Prepared:
    """Verifies a checkpoint and stores it in `output` so that a job loads it fast.

    Raises AdaMolmoError for an architecture that no backend knows, and for an unusable checkpoint.
    """
    return _module_of(checkpoint).prepare(checkpoint, output, dtype, fixed_prefix_layers)


def load_backend(
    directory: Path,
    *,
    tiers: Mapping[str, Mapping[str, Any]],
    fixed_prefix_layers: int,
    dtype: torch.dtype,
    device: str,
) -> Backend:
    """The model of a prepared directory.

    Args:
        tiers: what the backend takes for each vision tier, by name, cheapest first.

    Raises AdaMolmoError for unusable files, and for tiers that this model does not have.
    """
    check_prepared(directory)
    return _module_of(directory).load(
        directory, tiers=tiers, fixed_prefix_layers=fixed_prefix_layers, dtype=dtype, device=device
    )


def load_budget_prefix(directory: Path, fixed_prefix_layers: int, dtype: torch.dtype, device: str) -> BudgetPrefix:
    """The fixed prefix alone. Raises AdaMolmoError for unusable files."""
    check_prepared(directory)
    return _module_of(directory).load_budget_prefix(directory, fixed_prefix_layers, dtype, device)


def import_code(directory: Path) -> None:
    """Imports all that runs a prepared directory's model, for a process whose children will load it.

    Raises AdaMolmoError for an architecture that no backend knows.
    """
    _module_of(directory).import_code(directory)


def modules_for(checkpoint: Path | None) -> list[str]:
    """Dotted names of the modules that may run a checkpoint: one for a directory, all of them for what is not here yet.

    Raises AdaMolmoError for an architecture that none of them knows.
    """
    return sorted(set(_MODULES.values())) if checkpoint is None else [_module_name(checkpoint)]


def _module_of(directory: Path) -> ModuleType:
    return import_module(_module_name(directory))


def _module_name(directory: Path) -> str:
    model_type = _architecture(directory)
    if model_type not in _MODULES:
        raise AdaMolmoError(
            f"{directory}: config.json has model_type {quoted(model_type)}; expected one of {', '.join(_MODULES)}."
        )
    return _MODULES[model_type]


def _architecture(directory: Path) -> str:
    """`model_type` of the configuration; MolmoE's own formats need not have one."""
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        return str(found.get("model_type") or "molmo")
    except (OSError, ValueError, AttributeError, RecursionError):
        return "molmo"  # whose reader says what is wrong with the file


def decoding_on_gpu(directory: Path) -> str:
    """`Backend.decoding_on_gpu` of a prepared directory's model, without loading it."""
    return _module_of(directory).BACKEND.decoding_on_gpu


def weight_bytes(directory: Path) -> int:
    """That the model's weights take in memory, about."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))
