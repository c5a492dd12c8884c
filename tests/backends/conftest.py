"""Each family once as a tiny random checkpoint, loaded; sizes that no test has seen by $ADAMOLMO_TINY.

ADAMOLMO_TINY="layers=9 experts=12 top_k=5 seed=3" pytest tests/backends
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

PREFIX = 3


@pytest.fixture(scope="session")
def sizes():
    from tiny_families import TinySizes

    settings = (setting.split("=") for setting in os.environ.get("ADAMOLMO_TINY", "").split())
    return TinySizes(**{key: int(value) for key, value in settings})


@pytest.fixture(scope="session")
def checkpoint(sizes, tmp_path_factory) -> Callable[[str], Path]:
    """Directory of a family's checkpoint, which no test changes."""
    from tiny_families import build_checkpoint

    folder, built = tmp_path_factory.mktemp("families"), {}

    def get(name: str) -> Path:
        if name not in built:
            built[name] = build_checkpoint(name, folder / name, sizes)
        return built[name]

    return get


@pytest.fixture(scope="session")
def loaded(checkpoint) -> Callable:
    """A family's backend with a fixed prefix of PREFIX layers; shared, as nothing may stay in it."""
    from tiny_families import TINY_FAMILIES

    from adamolmo.transformers_backend.loading import load

    backends = {}

    def get(name: str):
        if name not in backends:
            with torch.inference_mode(False):  # weights that gradients can pass, whoever asks first
                tiers = TINY_FAMILIES[name].tiers
                backends[name] = load(checkpoint(name), tiers=tiers, fixed_prefix_layers=PREFIX)
        return backends[name]

    return get


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Of several shapes, with different content everywhere."""
    rng = np.random.default_rng(5)
    shapes = (150, 200), (90, 90), (60, 320)
    return [Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)) for shape in shapes]
