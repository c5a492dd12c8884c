"""What a script sets before lmms-eval is imported, and which lmms-eval that is."""

import os
from importlib.metadata import version


def quiet_harness() -> None:
    """No telemetry, and no progress bars for reading small files."""
    os.environ.update(
        HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", WANDB_MODE="disabled"
    )


def harness_version() -> str:
    return version("lmms-eval")
