"""What every controller is: per request it chooses a tier before vision, and top_k and blocks after the fixed prefix.

A table and a network are interchangeable: `engine.py` calls the same three methods in the same order and books their
time into the request's latency.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Stage1Inputs:
    """What a controller may read before the image is encoded.

    Attributes:
        budget_ms: latency that the whole request may take.
    """

    budget_ms: float


class Controller(ABC):
    """One way to choose the knobs of a request.

    Attributes:
        name: as in the configuration and in the results' file names, e.g. `lookup-mean`.
    """

    name: str

    @abstractmethod
    def predict_stage1(self, inputs: Stage1Inputs) -> str:
        """The tier, before vision."""

    def budget_token(self, budget_ms: float) -> Tensor | None:
        """Embedding of the extra prompt position whose state stage 2 reads, [1, d_model] on the model's device and in
        its dtype; None if stage 2 reads nothing, and then the prompt stays as it is."""
        return None

    @abstractmethod
    def predict_stage2(self, budget_ms: float, tier: str, budget_state: Tensor | None) -> tuple[int, int]:
        """(top_k, num_active_blocks), after the fixed prefix.

        Args:
            tier: what `predict_stage1` chose.
            budget_state: the budget token after the fixed prefix, [1, d_model]; None without a budget token.
        """


@dataclass(frozen=True)
class KnobGrid:
    """The values of the three knobs, each from cheap to dear; the grid is their product."""

    tiers: tuple[str, ...]
    top_k: tuple[int, ...]
    num_active_blocks: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.tiers), len(self.top_k), len(self.num_active_blocks)

    @property
    def configs(self) -> list[KnobConfig]:
        """In row-major order of `shape`."""
        return [KnobConfig(*values) for values in product(self.tiers, self.top_k, self.num_active_blocks)]

    @property
    def full(self) -> KnobConfig:
        return KnobConfig(self.tiers[-1], self.top_k[-1], self.num_active_blocks[-1])

    def __str__(self) -> str:
        knobs = {"tiers": self.tiers, "top_k": self.top_k, "num_active_blocks": self.num_active_blocks}
        return ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in knobs.items())


@dataclass(frozen=True)
class Study:
    """What a trained policy is only valid for, because its rewards and its inputs were measured there.

    Attributes:
        model_checksum: of the weights.
        fixed_prefix_layers: blocks that the budget token passes before stage 2.
        clock: "measured" or "modelled".
        device: description of the device, as in the profile's metadata; free with the modelled clock.
    """

    grid: KnobGrid
    model_checksum: str
    fixed_prefix_layers: int
    clock: str
    device: dict


@dataclass(frozen=True)
class ControllerContext:
    """Where controllers are loaded from and what they must fit.

    Attributes:
        results: directory of the study's results.
        dataset: whose lookup table is used, unless `lookup_pooled`.
        lookup_tolerance: a table's configuration is a candidate up to budget * (1 + tolerance).
        torch_device, dtype: of the model, as PyTorch spells them, e.g. "cpu" and "float32".
    """

    study: Study
    results: Path
    dataset: str
    lookup_tolerance: float
    lookup_pooled: bool
    torch_device: str
    dtype: str
