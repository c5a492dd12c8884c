"""An estimate with its confidence interval, as it is computed and as it stands in files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float
