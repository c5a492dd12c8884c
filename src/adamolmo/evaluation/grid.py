"""What every configuration answers and takes on the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from adamolmo.files.columns import KNOBS
from adamolmo.knobs import KnobConfig


@dataclass(frozen=True)
class GridOutcomes:
    """Attributes:
    sample_ids: sorted.
    accuracy, latency_ms: of every configuration on every sample, [samples, configurations].
    """

    sample_ids: list[str]
    accuracy: np.ndarray
    latency_ms: np.ndarray

    @classmethod
    def of(cls, profile: DataFrame, configs: Sequence[KnobConfig]) -> GridOutcomes:
        """From the rows of a table `core_exp` of one dataset."""
        columns = [(c.tier, c.top_k, c.num_active_blocks) for c in configs]
        wide = profile.astype({"tier": str}).pivot(
            index="sample_id", columns=list(KNOBS), values=["accuracy", "latency_ms"]
        )
        accuracy, latency_ms = (wide[value][columns].to_numpy(float) for value in ("accuracy", "latency_ms"))
        return cls([str(sample_id) for sample_id in wide.index], accuracy, latency_ms)
