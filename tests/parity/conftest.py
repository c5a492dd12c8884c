"""Golden data: reference numbers that are not part of this repository."""

import json
import os
from pathlib import Path

import pytest

from adamolmo.model.preprocess import PreprocessConfig


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden directory ($ADAMOLMO_GOLDEN); without one the test is skipped."""
    directory = Path(os.environ.get("ADAMOLMO_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
    if not directory.is_dir():
        pytest.skip(f"no golden data at {directory} (set ADAMOLMO_GOLDEN)")
    return directory


@pytest.fixture(scope="session")
def index(golden) -> dict:
    """Images, settings and expected tilings of the preprocessing cases."""
    return json.loads((golden / "preprocess" / "index.json").read_text())


@pytest.fixture(scope="session")
def config(index) -> PreprocessConfig:
    """The settings that the preprocessing cases were made with."""
    settings = index["settings"]
    return PreprocessConfig(
        crop_size=tuple(settings["base_image_input_size"]),
        patch_size=settings["image_patch_size"],
        overlap_margins=tuple(settings["overlap_margins"]),
        pooling=tuple(settings["image_pooling"]),
        mean=tuple(settings["image_mean"]),
        std=tuple(settings["image_std"]),
    )
