"""How a model's self-check judges and says what it found; what is compared is the business of each backend.

Nearly every way in which a model can differ from what is expected of it shows in no error, only in other answers. So a
checkpoint is not used before it has passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.model import Check

# Largest difference of logits, in their largest value, from rounding alone: sums in another order.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}

Comparison = tuple[str, Callable[[], float], float]  # what is compared, the difference, and what is allowed of it


def passed(model_type: str, comparisons: Iterable[Comparison]) -> tuple[Check, ...]:
    """Each comparison with its difference. Raises AdaMolmoError for the first that failed: the model cannot be used."""
    return tuple(_passed(model_type, name, compare(), allowed) for name, compare, allowed in comparisons)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of these logits, relative to the largest; not a number where one of them is not."""
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return ((found - expected).abs().max() / largest).item()


def _passed(model_type: str, name: str, found: float, allowed: float) -> Check:
    if not found <= allowed:  # NaN is no number that could be small enough
        by = f"by {found:.1e} of the largest" if math.isfinite(found) else "and are not all finite"
        raise AdaMolmoError(
            f"this {model_type} model fails its check '{name}': logits differ {by}; expected at most {allowed:.0e}, so "
            "it cannot be used."
        )
    return Check(name=name, difference=found, allowed=allowed)
