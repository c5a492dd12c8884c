"""What a controller's module works with, beside the interface that the engine calls (`inference/controller.py`)."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from adamolmo.files.policy import Fingerprint
from adamolmo.inference.controller import NOTHING, Reading


@dataclass(frozen=True)
class Design:
    """What the controllers of one name have in common, trained or not; their module says it by `design(name)`.

    Attributes:
        reads: before vision, besides the budget, at any budget.
        stages: 1 if all is settled before vision, 2 if top_k and blocks are chosen after the fixed prefix.
    """

    reads: Set[Reading] = NOTHING
    stages: int = 1


@dataclass(frozen=True)
class ControllerContext:
    """Where controllers are loaded from and what they must fit.

    Attributes:
        fingerprint: of the study at hand.
        results: directory of the study's results.
        dataset: whose lookup table is used, unless `lookup_pooled`.
        lookup_tolerance: a table's configuration is a candidate up to budget * (1 + tolerance).
        torch_device, dtype: of the model, as PyTorch spells them, e.g. "cpu" and "float32".
    """

    fingerprint: Fingerprint
    results: Path
    dataset: str
    lookup_tolerance: float
    lookup_pooled: bool
    torch_device: str
    dtype: str
