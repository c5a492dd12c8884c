"""Names that play a part in comparisons: the baseline of all others, the oracle, which is their upper bound, and static
configurations, which are landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from adamolmo.names import ORACLE, STATIC_PREFIX

if TYPE_CHECKING:
    from pandas import DataFrame

# What the hybrid controller switches between.
HYBRID_PARTS = ("two-stage-language", "single-stage-mlp")


def baseline_of(controllers: Iterable[str]) -> str:
    """What the others are measured against: the plainest table if the study has it, else the first by name."""
    names = sorted(set(controllers) - {ORACLE}) or [ORACLE]
    return next((name for name in ("lookup-mean", "lookup-median", "static-full") if name in names), names[0])


def heeds_budget(name: str) -> bool:
    """A static configuration does not: it can be compared with at any budget, but is nobody's choice for one."""
    return not name.startswith(STATIC_PREFIX)


def without_oracle(rows: DataFrame) -> DataFrame:
    """The rows of a results table that are about controllers alone."""
    columns = [column for column in ("controller", "other") if column in rows]
    return rows[(rows[columns] != ORACLE).all(axis=1)]
