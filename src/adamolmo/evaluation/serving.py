"""The measures by which serving systems are compared, from the stages of requests (docs/measurement.md).

Each takes one request or a table of requests, whose columns have the names of the stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from adamolmo.inference.clock import StageTimes  # brings torch, which pages do not need


def ttft_ms(stages: StageTimes | DataFrame) -> float | Series:
    """Time to first token: the latency without `decode_ms`, so without preprocessing."""
    return stages.vision_ms + stages.controller_ms + stages.prefill_ms


def tpot_ms(stages: StageTimes | DataFrame, output_tokens: int | Series) -> float | Series:
    """Time per output token behind the first, the end token being one of them; NaN where the answer is empty."""
    return stages.decode_ms / np.where(output_tokens, output_tokens, np.nan)


def in_words(ttft: float, tpot: float, energy_j: float | None) -> str:
    """Of one request, without what it does not have."""
    parts = [f"TTFT {ttft:.2f} ms"]
    if not np.isnan(tpot):
        parts.append(f"TPOT {tpot:.2f} ms")
    if energy_j is not None and not np.isnan(energy_j):
        parts.append(f"energy {energy_j:.3g} J")
    return ", ".join(parts)
