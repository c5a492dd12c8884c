"""Each family once as a tiny random checkpoint, loaded; sizes that no test has seen by $ADAMOLMO_TINY.

ADAMOLMO_TINY="layers=9 experts=12 top_k=5 seed=3" pytest tests/backends
"""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from asking import PREFIX, Model, engine_of
from hub_cache import released_config
from PIL import Image

from adamolmo.backend.interface import Backend
from adamolmo.backend.loading import prepare
from adamolmo.inference.engine import Engine
from adamolmo.model.backend import MolmoEBackend
from adamolmo.model.checkpoint import save_released
from adamolmo.model.preprocess import CropRange
from adamolmo.transformers_backend.families import FAMILIES

MOLMOE_TIERS = {"low": CropRange(1, 1), "high": CropRange(1, 4)}


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


@pytest.fixture(scope="session")
def molmoe(tiny_model, tiny_config, tiny_tokenizer, tiny_tokenizer_file, tmp_path_factory) -> Model:
    checkpoint, prepared = (tmp_path_factory.mktemp("molmoe") / name for name in ("checkpoint", "prepared"))
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps(released_config(tiny_config)))
    (checkpoint / "tokenizer.json").write_bytes(tiny_tokenizer_file.read_bytes())
    save_released(tiny_model, checkpoint / "model.safetensors", torch.float32)
    prepare(checkpoint, prepared, torch.float32, PREFIX)
    return Model(
        MolmoEBackend(tiny_model, tiny_tokenizer, MOLMOE_TIERS),
        prepared,
        {name: vars(crops) for name, crops in MOLMOE_TIERS.items()},
    )


@pytest.fixture(scope="session")
def family(checkpoint, loaded, tmp_path_factory):
    """A family's model."""

    @functools.cache
    def get(name: str) -> Model:
        from tiny_families import TINY_FAMILIES

        prepared = tmp_path_factory.mktemp("prepared") / name
        prepare(checkpoint(name), prepared, torch.float32, PREFIX)
        return Model(loaded(name), prepared, dict(TINY_FAMILIES[name].tiers))

    return get


@pytest.fixture(scope="session", params=["molmoe", *FAMILIES])
def model(request) -> Model:
    if request.param == "molmoe":
        return request.getfixturevalue("molmoe")
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    return request.getfixturevalue("family")(request.param)


@pytest.fixture
def backend(model) -> Backend:
    return model.backend


@pytest.fixture
def engine(backend) -> Engine:
    return engine_of(backend)
