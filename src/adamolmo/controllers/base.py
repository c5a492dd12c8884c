"""What every controller is: per request it chooses a tier before vision, and top_k and blocks after the fixed prefix.

A table and a network are interchangeable: `engine.py` calls the same three methods in the same order and books their
time into the request's latency.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
