"""What the configuration names on this machine: whether it is there, and whether it is what it was.

Snakemake asks neither where the files made from it exist: a missing input is no matter then, and one that was replaced
by an older file looks older than what was made from its predecessor.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.config.data import DatasetSettings
from adamolmo.data.hub import CHECKPOINT_FILES, is_repository_name
from adamolmo.data.listing import SUFFIXES, data_files, place
from adamolmo.errors import AdaMolmoError, absence

_BLOCK_BYTES = 1 << 12
_BLOCKS = 16  # of a file, evenly spread


_OR_HUB = "or a repository of the Hugging Face Hub, owner/name"


def input_files(study: StudyConfig, root: Path) -> dict[str, Callable[[], list[Path]]]:
    """By key of the configuration, what finds the files of this machine that it names, or raises AdaMolmoError.

    Args:
        root: what a relative `model.checkpoint` is meant from.
    """
    found: dict[str, Callable[[], list[Path]]] = {}
    if not is_on_hub(study.model.checkpoint, root):
        found["model.checkpoint"] = partial(checkpoint_files, root / study.model.checkpoint)
    encoder = study.training.mobilevit.checkpoint
    if encoder is not None and not is_on_hub(encoder, Path()):
        found["training.mobilevit.checkpoint"] = partial(pretrained_files, Path(encoder))
    for name, dataset in study.datasets.items():
        if dataset.source in SUFFIXES:
            found[f"datasets.{name}.path"] = partial(_dataset_files, dataset)
    return found


def _dataset_files(settings: DatasetSettings) -> list[Path]:
    return data_files(place(settings), settings.source)


def is_on_hub(checkpoint: str, root: Path) -> bool:
    """What is no directory here may be a repository of the Hub."""
    return not os.path.isdir(root / checkpoint) and is_repository_name(checkpoint)


def checkpoint_files(directory: Path) -> list[Path]:
    """All that prepare_model reads of a directory. Raises AdaMolmoError when it is no checkpoint."""
    _check_directory(directory, f"a directory with a checkpoint, {_OR_HUB}")
    files = sorted(path for pattern in CHECKPOINT_FILES for path in directory.glob(pattern))
    for patterns in (("config.json", "config.yaml"), ("tokenizer.json",), ("*.safetensors",)):
        if not any(path.match(pattern) for path in files for pattern in patterns):
            raise AdaMolmoError(f"{directory} has no {patterns[0]}; expected a directory with a checkpoint.")
    return files


def pretrained_files(directory: Path) -> list[Path]:
    """Of weights that a controller starts from. Raises AdaMolmoError when there is no such directory."""
    _check_directory(directory, f"a directory of weights, {_OR_HUB}")
    return sorted(path for path in directory.iterdir() if path.is_file())


def identity(files: Iterable[Path]) -> str:
    """Changes with the files' names, sizes and content. Of large ones a sample is read, in which any two trained
    checkpoints or encoded tables differ; a single byte that is edited in place shows in the file's time.

    Raises AdaMolmoError for a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
            digest.update(os.fsencode(path.name) + f" {size}\n".encode())
            with open(path, "rb") as file:
                for start in _places(size):
                    file.seek(start)
                    digest.update(file.read(_BLOCK_BYTES))
        except OSError as error:
            raise AdaMolmoError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()[:16]


def _places(size: int) -> list[int]:
    """Where blocks start: the first and the last always, all of them in a small file."""
    blocks = min(_BLOCKS, -(-size // _BLOCK_BYTES))
    last = max(0, size - _BLOCK_BYTES)
    return sorted({last * block // max(1, blocks - 1) for block in range(blocks)})


def _check_directory(path: Path, expected: str) -> None:
    if not os.path.isdir(path):
        raise AdaMolmoError(f"{path} {absence(path) or 'is no directory'}; expected {expected}.")
