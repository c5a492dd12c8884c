"""What the engine asks of a controller: per request it decides before vision, and may leave top_k and blocks open until
the fixed prefix has run.

A table and a network are interchangeable: the engine calls the same methods in the same order and books their time into
the request's latency.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:  # tables are read without it
    import numpy as np
    from torch import Tensor

# "size": crops and prompt tokens at every tier. "question": the pooled question embedding. "overview": the summary of
# the overview crop by the vision tower, whose encoding is reused. "thumbnail": the downscaled image, for controllers
# with a vision encoder of their own.
Reading = Literal["size", "question", "overview", "thumbnail"]
NOTHING: Set[Reading] = frozenset()


@dataclass(frozen=True)
class Limit:
    """What a request may cost.

    Attributes:
        budget_ms: latency that the whole request may take; infinity for none.
        price_per_ms: what a millisecond must bring, as a share of right answers, to be spent; 0 where time within the
            budget is free. A mean is kept by it: the same price for all requests spends time where it brings most.
    """

    budget_ms: float = math.inf
    price_per_ms: float = 0.0


@dataclass(frozen=True)
class RequestSize:
    """What a request's work depends on, known from the image's size and the question before anything has run.

    Attributes:
        num_crops: crops at every tier, the overview included; tiers cheapest first.
        input_tokens: length of the prompt at every tier, without a budget token.
    """

    num_crops: tuple[int, ...]
    input_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Stage1Inputs:
    """What a controller may read before the tier is known; besides the limit what it asked for by `reads`.

    Attributes:
        size: of the request.
        question: mean embedding of the prompt's text, [1, d_model], float32.
        overview: `readings.summarise_overview` of the overview crop, [1, overview_dim], float32.
        thumbnail: the downscaled image, [1, 3, THUMBNAIL_PX, THUMBNAIL_PX], float32, 0 to 1.
    """

    limit: Limit
    size: RequestSize | None = None
    question: Tensor | None = None
    overview: Tensor | None = None
    thumbnail: Tensor | None = None

    @property
    def budget_ms(self) -> float:
        return self.limit.budget_ms


@dataclass(frozen=True)
class Decision:
    """What is settled before vision.

    Attributes:
        decoder: (top_k, num_active_blocks), or None if they are chosen after the fixed prefix.
        prior: what the controller itself wants to know again in stage 2 of stage 1, [top_k values, block counts].
    """

    tier: str
    decoder: tuple[int, int] | None = None
    prior: np.ndarray | None = None

    @classmethod
    def of(cls, config: KnobConfig) -> Decision:
        return cls(config.tier, (config.top_k, config.num_active_blocks))


class Controller(ABC):
    """One way to choose the knobs of a request. What it chooses depends on that request alone.

    Attributes:
        name: as in the configuration and in the results' file names, e.g. `lookup-mean`.
        heeds_price: whether the limit's price per ms counts in `predict_stage1`; if not, only its budget does.
    """

    name: str
    heeds_price: bool = False

    def reads(self, limit: Limit) -> Set[Reading]:
        """What `predict_stage1` reads besides the limit; the engine prepares it and books its time."""
        return NOTHING

    @abstractmethod
    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        """Before vision: the tier, and the other two knobs unless they are chosen later."""

    def budget_token(self, budget_ms: float) -> Tensor | None:
        """Embedding of the extra prompt position whose state stage 2 reads, [1, d_model] on the model's device and in
        its dtype; None if stage 2 reads nothing, and then the prompt stays as it is."""
        return None

    def predict_stage2(self, budget_ms: float, decision: Decision, budget_state: Tensor | None) -> tuple[int, int]:
        """(top_k, num_active_blocks), after the fixed prefix; what is decided already stays.

        Args:
            decision: what `predict_stage1` returned.
            budget_state: the budget token after the fixed prefix, [1, d_model]; None without a budget token.
        """
        if decision.decoder is None:
            raise AdaMolmoError(f"controller '{self.name}' leaves top_k and blocks open; expected its predict_stage2.")
        return decision.decoder


def decides_by_network(reads: Set[Reading], budget_token: Tensor | None) -> bool:
    """Whether more is asked than a table: something that is read of image or question, or a budget token."""
    return bool(reads - {"size"}) or budget_token is not None


class FixedController(Controller):
    """The same configuration for every request and budget, `static-<config>` unless it has another name."""

    def __init__(self, config: KnobConfig, name: str | None = None):
        self.name = name or f"static-{config}"
        self.config = config

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        return Decision.of(self.config)
