"""A released checkpoint as the files of a prepared model, of which one has all weights in one dtype."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing
from adamolmo.model.checkpoint import WEIGHTS, finite, weight_files, write_safetensors
from adamolmo.transformers_backend.families import Family

_NEEDED = "config.json", "tokenizer.json", "preprocessor_config.json"
_COPIED = (*_NEEDED, "tokenizer_config.json", "generation_config.json", "chat_template.jinja")
_FLOATS = {"F64", "F32", "F16", "BF16"}


def copy_checkpoint(source: Path, output: Path, family: Family, dtype: torch.dtype) -> list[str]:
    """Writes the checkpoint's weights as one file in `dtype`, tensor by tensor, and what belongs to them.

    Returns the files' names, the weights first.
    Raises AdaMolmoError for a missing file, and for weights that cannot be read or are no numbers in `dtype`.
    """
    for name in _NEEDED:
        if not (source / name).is_file():
            raise AdaMolmoError(f"{source / name}: does not exist; expected in a checkpoint of {family.model_type}.")
    _copy_weights(source, output / WEIGHTS, dtype)
    copied = [name for name in _COPIED if (source / name).is_file()]
    for name in copied:
        with replacing(output / name) as temporary:
            shutil.copyfile(source / name, temporary)
    return [WEIGHTS, *copied]


def _copy_weights(source: Path, path: Path, dtype: torch.dtype) -> None:
    files = {}
    for file in weight_files(source):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (no mapping)
                    stored = opened.get_slice(name)
                    if (stored_as := stored.get_dtype()) not in _FLOATS:
                        raise AdaMolmoError(
                            f"{file}: tensor {name} is {stored_as}; expected one of {', '.join(sorted(_FLOATS))}."
                        )
                    files[name] = (file, tuple(stored.get_shape()))
        except (OSError, SafetensorError) as error:
            raise AdaMolmoError(f"{file}: cannot be read as safetensors ({error}).") from error

    def read(name: str) -> Tensor:
        with safe_open(files[name][0], framework="pt") as opened:
            return finite(opened.get_tensor(name).to(dtype), name, source)

    shapes = {name: shape for name, (_, shape) in files.items()}
    with replacing(path, dtype.itemsize * sum(map(math.prod, shapes.values()))) as temporary:
        write_safetensors(temporary, shapes, dtype, read)
