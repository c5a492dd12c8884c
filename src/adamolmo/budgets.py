"""Latency budgets as they are written in the configuration, in file names and on the command line."""

import re
from dataclasses import dataclass
from typing import Literal

from adamolmo.errors import AdaMolmoError, quoted

Promise = Literal["p90", "p95", "p99", "mean"]
# Share of the requests that may take longer than the budget.
ALLOWED_LATE = {"p90": 0.10, "p95": 0.05, "p99": 0.01}
PER_REQUEST = "per-request"
# Kinds of budget, by what they ask for, as a reader calls them; in the order in which they are shown.
KINDS = {
    PER_REQUEST: "per request",
    **{promise: f"{100 * (1 - late):.0f} in 100 on time" for promise, late in ALLOWED_LATE.items()},
    "mean": "on average",
}

_HIGHEST = 1_000_000  # % or ms
# One spelling per value: no leading zeros, no trailing zeros after the point.
_FORM = re.compile(
    r"(?P<value>(?:0|[1-9]\d{0,6})(?:\.\d{0,8}[1-9])?)(?P<unit>pct|ms)(?:-(?P<promise>mean|p90|p95|p99))?", re.ASCII
)


@dataclass(frozen=True)
class Budget:
    """A budget with its unit: `170ms`, or `60pct` of the full configuration's median latency on the device at hand.

    One value has one spelling (`50.0pct` is refused), so that one cell of the study cannot exist under two names.

    Attributes:
        promise: what a stream of requests is to keep; None aims each request at the budget. `60pct-p95`: at most 5 %
            of the requests take longer; `60pct-mean`: the mean latency is at most the budget.
    """

    value: float
    unit: str
    promise: Promise | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """The inverse of `str`. Raises AdaMolmoError that names the text and the expected form."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        budget = match and cls(float(match["value"]), match["unit"], match["promise"])
        if budget is None or not 0 < budget.value <= _HIGHEST or str(budget) != text:
            raise AdaMolmoError(
                f"{quoted(text)} is not a budget; expected a positive number with its unit: '60pct' or '170ms', or "
                "with a promise behind it: '60pct-p95' (or p90, p99) or '60pct-mean'; up to a million."
            )
        return budget

    def __str__(self) -> str:
        return f"{self.value:.15g}{self.unit}" + (f"-{self.promise}" if self.promise else "")

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return self.promise or PER_REQUEST

    def to_ms(self, reference_ms: float) -> float:
        """Milliseconds; `reference_ms` is the full configuration's median latency."""
        return self.value if self.unit == "ms" else self.value / 100 * reference_ms

    def label(self, short: bool = False) -> str:
        """As a reader sees it: "60 %, 95 in 100 on time", "60 % on average"; short: "60 % p95", "60 % mean"."""
        amount = f"{self.value:.15g} {'%' if self.unit == 'pct' else 'ms'}"
        if self.promise is None:
            return amount
        if short:
            return f"{amount} {self.promise}"
        return f"{amount} on average" if self.promise == "mean" else f"{amount}, {KINDS[self.promise]}"


def place_of_kind(budget: str) -> int:
    """Of a budget as it is written, where its kind is shown."""
    return list(KINDS).index(kind_of(budget))


def kind_of(budget: str) -> str:
    """Of a budget as it is written, or of the name of a kind, under which tables have the mean over its budgets."""
    return budget if budget in KINDS else Budget.parse(budget).kind
