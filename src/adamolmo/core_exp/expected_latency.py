"""What a request will cost, in every configuration, before anything of it has run.

Crops and prompt tokens follow from the image's size and the question. How long the answer will be does not: every
configuration's decode steps are the mean of the profile, per dataset. With these the stage model (`latency_model`) is
linear in crops and tokens, so three coefficients per configuration are all that a request needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.core_exp.latency_model import StageModel, with_decode_steps
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.files.documents import read_json
from adamolmo.files.lookup import ExpectedLatencyFile, LatencyEntry
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = [
    *KNOBS,
    *STAGES,
    "latency_ms",
    "latency_iqr_ms",
    "latency_source",
    "num_crops",
    "input_tokens",
    "output_tokens",
]
# Of normal values with a standard deviation of 1: it by their mean absolute deviation; the mean interquartile range of
# three of them; and by how much the variance around a known mean exceeds that of the median of three.
_SD_PER_MEAN_ABSOLUTE, _IQR_OF_RUNS, _AROUND_MEDIAN = 1.2533, 0.846, 0.551
_COEFFICIENTS = ("fixed_ms", "ms_per_crop", "ms_per_token")


@dataclass(frozen=True)
class ExpectedLatency:
    """Coefficients of one dataset.

    Attributes:
        tier: index of each configuration's tier among the tiers, cheapest first, [configurations].
        fixed_ms, ms_per_crop, ms_per_token: [configurations].
        scatter: standard deviation of a single request's log latency around the one that the profile has for it.
    """

    tier: np.ndarray
    fixed_ms: np.ndarray
    ms_per_crop: np.ndarray
    ms_per_token: np.ndarray
    scatter: float = 0.0

    def __call__(self, num_crops: np.ndarray, input_tokens: np.ndarray) -> np.ndarray:
        """Crops and prompt tokens at every tier, [..., tiers] each -> ms, [..., configurations]."""
        crops, tokens = np.asarray(num_crops), np.asarray(input_tokens)
        return (
            self.fixed_ms + self.ms_per_crop * crops[..., self.tier] + self.ms_per_token * tokens[..., self.tier]
        )  # [..., configurations]

    def of_request(self, place: int, num_crops: int, input_tokens: int) -> float:
        """Of one configuration, the grid's at this place, with the crops and prompt tokens at its tier: ms."""
        ms = self.fixed_ms[place] + self.ms_per_crop[place] * num_crops + self.ms_per_token[place] * input_tokens
        return float(ms)


def fit(
    profile: DataFrame, metadata: Mapping, grid: KnobGrid, fixed_prefix_layers: int, max_new_tokens: int
) -> ExpectedLatencyFile:
    """Args:
    profile: core_exp rows with COLUMNS.
    metadata: the profile's.
    """
    configs, knobs = grid.configs, list(KNOBS)
    profile = with_decode_steps(profile, max_new_tokens).assign(tier=profile["tier"].astype(str))
    timed = profile[profile["latency_source"] != "estimated"]  # what is estimated has been fitted to the others
    model = StageModel(timed, fixed_prefix_layers)
    mean_steps = profile.groupby(knobs, observed=True)["decode_steps"].mean()

    def latency_ms(num_crops: float, input_tokens: float) -> np.ndarray:
        rows = mean_steps.reset_index().assign(num_crops=num_crops, input_tokens=input_tokens)
        of_config = rows[knobs].join(model.predict(rows).sum(axis=1).rename("ms")).set_index(knobs)["ms"]
        return of_config.loc[[tuple(vars(config).values()) for config in configs]].to_numpy()  # [configurations]

    fixed_ms = latency_ms(0, 0)
    per_crop_ms, per_token_ms = latency_ms(1, 0) - fixed_ms, latency_ms(0, 1) - fixed_ms
    places = {tuple(vars(config).values()): place for place, config in enumerate(configs)}
    place = [places[of_row] for of_row in timed[knobs].itertuples(index=False, name=None)]
    crops, tokens = timed["num_crops"].to_numpy(), timed["input_tokens"].to_numpy()  # [rows]
    expected_ms = fixed_ms[place] + per_crop_ms[place] * crops + per_token_ms[place] * tokens
    error = float(np.abs(expected_ms / timed["latency_ms"].to_numpy() - 1).mean())
    scatter = _scatter(timed, error, estimated=1 - len(timed) / len(profile))
    expected = ExpectedLatency(tier_places(grid), fixed_ms, per_crop_ms, per_token_ms, scatter)
    return as_document(expected, grid, 100 * error, metadata)


def _scatter(timed: DataFrame, error: float, estimated: float) -> float:
    """See ExpectedLatency. What the profile has for a timed request is the median of its runs, around which one run
    scatters; for the share of requests that is `estimated`, it is off by the error of the estimate as well."""
    of_runs = float((timed["latency_iqr_ms"] / timed["latency_ms"]).mean()) / _IQR_OF_RUNS
    return math.sqrt(estimated * (error * _SD_PER_MEAN_ABSOLUTE) ** 2 + _AROUND_MEDIAN * of_runs**2)


def tier_places(grid: KnobGrid) -> np.ndarray:
    """Index of each configuration's tier, [configurations]."""
    return np.array([grid.tiers.index(config.tier) for config in grid.configs])


def as_document(expected: ExpectedLatency, grid: KnobGrid, error_pct: float, metadata: Mapping) -> ExpectedLatencyFile:
    values = zip(*(getattr(expected, name).tolist() for name in _COEFFICIENTS), strict=True)
    entries = (
        LatencyEntry(config=str(config), **dict(zip(_COEFFICIENTS, of_config, strict=True)))
        for config, of_config in zip(grid.configs, values, strict=True)
    )
    return ExpectedLatencyFile(
        entries=tuple(entries),
        error_pct=error_pct,
        scatter_pct=100 * expected.scatter,
        clock=metadata["clock"],
        device=metadata["device"],
    )


def load(path: Path, grid: KnobGrid) -> ExpectedLatency:
    """In the order of the grid. Raises AdaMolmoError when the file is unusable or covers another grid."""
    found = read_json(path, ExpectedLatencyFile)
    entries = {entry.config: entry for entry in found.entries}
    names = [str(config) for config in grid.configs]
    if sorted(entries) != sorted(names):
        raise AdaMolmoError(f"{path}: the latencies were expected for another grid; expected {grid}.")
    values = (np.array([getattr(entries[name], of) for name in names]) for of in _COEFFICIENTS)
    return ExpectedLatency(tier_places(grid), *values, found.scatter_pct / 100)
