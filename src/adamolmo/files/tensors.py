"""Safetensors files between rules: written whole, with a checksum of everything that is read from them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing

# The one key of the metadata: safetensors writes several in random order, and equal input must give equal bytes.
_KEY = "adamolmo"


def write_tensors(tensors: Mapping[str, Tensor], path: Path, info: Mapping[str, Any] | None = None) -> None:
    """One file, which appears complete or not at all; `info` is JSON-able and travels in it.

    Raises AdaMolmoError when the file cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = dict(info or {})
    note = {"sha256": _checksum(stored, content), "info": content}
    with replacing(path) as temporary:
        save_file(stored, temporary, metadata={_KEY: json.dumps(note, sort_keys=True, allow_nan=False)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, mapped from the file, and what was written with them.

    Raises AdaMolmoError when the file is absent, damaged, or not of `write_tensors`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            note = json.loads(file.metadata()[_KEY])
        stated, info = note["sha256"], note["info"]
        if _checksum(tensors, info) != stated:
            raise ValueError("it is not what its checksum says")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = "it has no checksum of this study" if isinstance(error, (KeyError, TypeError)) else error
        raise AdaMolmoError(
            f"{path}: cannot be read as tensors of this study ({reason}); "
            "delete the file and run Snakemake again to remake it."
        ) from error
    return tensors, info


def _checksum(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
