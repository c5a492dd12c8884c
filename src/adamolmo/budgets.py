"""Latency budgets as they are written in the configuration, in file names and on the command line."""

import re
from dataclasses import dataclass

from adamolmo.errors import AdaMolmoError

# One spelling per value: no leading zeros, no trailing zeros after the point.
_FORM = re.compile(r"(?P<value>(?:0|[1-9]\d*)(?:\.\d*[1-9])?)(?P<unit>pct|ms)")


@dataclass(frozen=True)
class Budget:
    """A budget with its unit: `170ms`, or `60pct` of the full configuration's median latency on the device at hand.

    One value has one spelling (`50.0pct` is refused), so that one cell of the study cannot exist under two names.
    """

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """The inverse of `str`. Raises AdaMolmoError that names the text and the expected form."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None or float(match["value"]) == 0:
            raise AdaMolmoError(
                f"'{text}' is not a budget; expected a positive number with its unit: '60pct' or '170ms'."
            )
        return cls(float(match["value"]), match["unit"])

    def __str__(self) -> str:
        return f"{self.value:.15g}{self.unit}"

    def to_ms(self, reference_ms: float) -> float:
        """Milliseconds; `reference_ms` is the full configuration's median latency."""
        return self.value if self.unit == "ms" else self.value / 100 * reference_ms
