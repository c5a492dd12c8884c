"""Where a part of the profile comes from: metadata that must be equal in all parts that are merged."""

import platform
from pathlib import Path

import numpy
import torch

import adamolmo
from adamolmo.files.documents import read_json
from adamolmo.files.model import Manifest
from adamolmo.files.writing import file_checksum
from adamolmo.inference.engine import Engine

KEYS = ("device", "clock", "versions", "model_checksum", "data_checksum", "seed")


def provenance(engine: Engine, model_dir: Path, samples: Path, seed: int) -> dict:
    """The values of KEYS; `samples` is the file of the split."""
    return {
        "device": engine.device,
        "clock": engine.clock.name,
        "versions": {
            "adamolmo": adamolmo.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "model_checksum": read_json(model_dir / "manifest.json", Manifest).checksum,
        "data_checksum": file_checksum(samples),
        "seed": seed,
    }
