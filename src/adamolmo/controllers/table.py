"""Lookup tables: what each knob configuration costs and brings on average, and the best one under a budget.

A table is made once from a profile and saved as JSON; choosing from it takes microseconds, so it is used per request.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.lookup import LookupEntry, LookupFile, LookupOrigin
from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:
    from pandas import DataFrame

AGGREGATIONS = ("mean", "median", "max_accuracy")
# Lies beside the tables: the latency that a request's size lets expect (core_exp/expected_latency.py).
EXPECTED_LATENCY = "expected_latency"
_KNOBS = list(KNOBS)
_MEASURES = ["accuracy", "latency_ms"]


def aggregate(profile: "DataFrame", how: str) -> "DataFrame":
    """One row per configuration, sorted: tier, top_k, num_active_blocks, accuracy, latency_ms, num_samples.

    `profile` has one row per (sample, configuration). "mean" and "median" are taken of accuracy and latency separately;
    "max_accuracy" is the one sample with the highest accuracy, of several the one with the lowest latency.
    Raises AdaMolmoError for an unknown `how`, missing columns, no rows, or values that are not measurements.
    """
    if how not in AGGREGATIONS:
        raise AdaMolmoError(f"unknown aggregation {how!r}: expected one of {', '.join(AGGREGATIONS)}")
    _check_profile(profile)
    groups = profile.groupby(_KNOBS, observed=True)
    if how == "max_accuracy":
        best_first = profile.sort_values(_MEASURES, ascending=[False, True])
        table = best_first.groupby(_KNOBS, observed=True)[_MEASURES].first()
    else:
        table = groups[_MEASURES].agg(how)
    return table.assign(num_samples=groups.size()).reset_index()


def _check_profile(profile: "DataFrame") -> None:
    missing = [column for column in _KNOBS + _MEASURES if column not in profile]
    if missing:
        raise AdaMolmoError(f"the profile has no column {', '.join(missing)}: it has {', '.join(profile.columns)}")
    if profile.empty:
        raise AdaMolmoError("the profile is empty: expected at least one row")
    measured = profile["latency_ms"].gt(0) & profile["latency_ms"].lt(math.inf) & profile["accuracy"].abs().lt(math.inf)
    for row in profile[~measured].head(1).itertuples(index=False):
        _check_measures(KnobConfig(row.tier, row.top_k, row.num_active_blocks), row.accuracy, row.latency_ms)


def _check_measures(config: KnobConfig, accuracy: float, latency_ms: float) -> None:
    if not 0 < latency_ms < math.inf:
        raise AdaMolmoError(f"latency_ms of {config} is {latency_ms}: expected a positive number")
    if not math.isfinite(accuracy):
        raise AdaMolmoError(f"accuracy of {config} is {accuracy}: expected a number")


@dataclass(frozen=True)
class Entry:
    """What a configuration cost and brought over `num_samples` samples."""

    config: KnobConfig
    accuracy: float
    latency_ms: float
    num_samples: int


@dataclass(frozen=True)
class Choice(Entry):
    """The table's answer to a budget: the chosen entry, and how it was found.

    feasible: False if no configuration meets the budget and this is the one closest to it.
    num_candidates: how many configurations meet the budget.
    """

    feasible: bool
    num_candidates: int


class LookupTable:
    """Configurations sorted by latency, and for each prefix the most accurate of it."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Raises AdaMolmoError for no entries, a configuration given twice, or values that are not measurements."""
        self.entries = tuple(sorted(entries, key=lambda entry: (entry.latency_ms, -entry.accuracy, entry.config)))
        if not self.entries:
            raise AdaMolmoError("the lookup table is empty: expected at least one configuration")
        seen = set()
        for entry in self.entries:
            _check_measures(entry.config, entry.accuracy, entry.latency_ms)
            if entry.config in seen:
                raise AdaMolmoError(f"the lookup table has {entry.config} twice: expected each configuration once")
            seen.add(entry.config)
        self._latencies_ms = [entry.latency_ms for entry in self.entries]
        self._best_up_to = list(accumulate(self.entries, lambda best, e: e if e.accuracy > best.accuracy else best))

    @classmethod
    def from_frame(cls, table: "DataFrame") -> "LookupTable":
        """From the rows of `aggregate`."""
        return cls(
            Entry(
                KnobConfig(str(row.tier), int(row.top_k), int(row.num_active_blocks)),
                float(row.accuracy),
                float(row.latency_ms),
                int(row.num_samples),
            )
            for row in table.itertuples(index=False)
        )

    def choose(self, budget_ms: float, tolerance: float = 0.05) -> Choice:
        """The highest accuracy among latencies <= budget_ms * (1 + tolerance), on a tie the lowest latency.

        If there is none, the configuration with the latency closest to the budget: the fastest.
        Raises AdaMolmoError unless the budget is positive and the tolerance not negative.
        """
        if not (budget_ms > 0 and tolerance >= 0):
            raise AdaMolmoError(f"budget_ms {budget_ms}, tolerance {tolerance}: expected > 0 and >= 0")
        num_candidates = bisect_right(self._latencies_ms, budget_ms * (1 + tolerance))
        best = self._best_up_to[num_candidates - 1] if num_candidates else self.entries[0]
        return Choice(best.config, best.accuracy, best.latency_ms, best.num_samples, num_candidates > 0, num_candidates)

    def restrict(
        self, *, tier: str | None = None, top_k: int | None = None, num_active_blocks: int | None = None
    ) -> "LookupTable":
        """The configurations with these knob values. Raises AdaMolmoError if there are none."""
        values = zip(KNOBS, (tier, top_k, num_active_blocks), strict=True)
        wanted = {knob: value for knob, value in values if value is not None}
        kept = [e for e in self.entries if all(getattr(e.config, knob) == value for knob, value in wanted.items())]
        if not kept:
            raise AdaMolmoError(f"the lookup table has no configuration with {wanted}")
        return LookupTable(kept)


def table_path(aggregation: str, dataset: str | None) -> str:
    """Where a table, or EXPECTED_LATENCY, lies below the directory of results; None for the one over all datasets."""
    return f"lookup/{aggregation}.json" if dataset is None else f"lookup/{aggregation}/{dataset}.json"


def save_table(table: LookupTable, origin: LookupOrigin, path: str | Path) -> None:
    entries = tuple(LookupEntry(**vars(entry) | {"config": str(entry.config)}) for entry in table.entries)
    write_json(LookupFile(metadata=origin, entries=entries), path)


def load_table(path: str | Path) -> LookupTable:
    """Reads what `save_table` wrote. Raises AdaMolmoError naming the file."""
    rows = read_json(path, LookupFile).entries
    try:
        return LookupTable(Entry(**dict(row) | {"config": KnobConfig.parse(row.config)}) for row in rows)
    except AdaMolmoError as error:
        raise AdaMolmoError(f"{path}: {error}") from error
