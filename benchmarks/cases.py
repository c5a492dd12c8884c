"""What the benchmark of the engine times: cases of its own, and those of other implementations of the same model."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adamolmo.model.cost import Cost


@dataclass
class Case:
    """Something to time.

    Attributes:
        unit: what `ms` is per.
        run: does it `count` times.
        cost: what the machine must do at least, per unit; None where it is not known.
        ms: one measurement per repeat.
    """

    name: str
    unit: str
    run: Callable[[], object]
    cost: Cost | None = None
    count: int = 1
    ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Peer:
    """Another implementation of the decoder with the same weights, for text alone at full knobs.

    Attributes:
        logits: of the token behind the prompt, [vocabulary], by the name of the case that computes them so.
        cases: their names begin with the stage, `prefill` or `decode`.
    """

    name: str
    logits: dict[str, Tensor]
    cases: list[Case]


def timed_ms(run_once: Callable[[], object]) -> float:
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronize()
    start = time.perf_counter_ns()
    run_once()
    synchronize()
    return (time.perf_counter_ns() - start) / 1e6
