"""What a governor starts from, where it stands, and what it leaves behind for the next call."""

from itertools import pairwise
from typing import ClassVar, Self

from pydantic import Field, model_validator

from adamolmo.files.documents import Document, Part

_SPENT = {
    "mean": "mean latency in ms",
    "p90": "90th percentile in ms; this and the others are raised to be safe for the number of questions",
    "p95": "95th percentile in ms",
    "p99": "99th percentile in ms",
}


def response_path(controller: str) -> str:
    """Of the response of a learned controller, below the directory of results."""
    return f"controllers/{controller}/response.json"


def config_latency_path(dataset: str) -> str:
    """Of what every configuration took, below the directory of results."""
    return f"lookup/latency/{dataset}.json"


class Spent(Part):
    """What some requests took."""

    mean: float = Field(gt=0, description=_SPENT["mean"])
    p90: float = Field(gt=0, description=_SPENT["p90"])
    p95: float = Field(gt=0, description=_SPENT["p95"])
    p99: float = Field(gt=0, description=_SPENT["p99"])


class SpentByLimit(Part):
    """What some requests took under each of several limits."""

    mean: tuple[float, ...] = Field(description=_SPENT["mean"])
    p90: tuple[float, ...] = Field(description=_SPENT["p90"])
    p95: tuple[float, ...] = Field(description=_SPENT["p95"])
    p99: tuple[float, ...] = Field(description=_SPENT["p99"])


class ConfigLatency(Document):
    """What every configuration took on the profiled questions: governors of tables start from it."""

    path: ClassVar[str] = f"results/{config_latency_path('{dataset}')}"

    configurations: dict[str, Spent] = Field(min_length=1, description="configuration -> what its requests took")


class DatasetResponse(Part):
    """What one dataset's requests took by the limit that the controller was told."""

    budgets_ms: tuple[float, ...] = Field(min_length=1, description="budgets, rising")
    spent_ms: SpentByLimit = Field(description="what the requests took under each of them")
    prices_per_ms: tuple[float, ...] = Field(description="prices, rising; none for a controller that heeds none")
    spent_at_price_ms: tuple[float, ...] = Field(description="mean latency in ms at each of them")

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        for name in ("budgets_ms", "prices_per_ms"):
            if any(before >= after for before, after in pairwise(getattr(self, name))):
                raise ValueError(f"{name} does not rise; expected limits in ascending order")
        if {len(values) for _, values in self.spent_ms} != {len(self.budgets_ms)}:
            raise ValueError("spent_ms has another length than budgets_ms; expected one latency per budget")
        if len(self.spent_at_price_ms) != len(self.prices_per_ms):
            raise ValueError("spent_at_price_ms has another length than prices_per_ms; expected one latency per price")
        return self


class ControllerResponse(Document):
    """What the requests of a learned controller took on held-out profiled questions, by the limit that it was told: its
    governor starts from it."""

    path: ClassVar[str] = f"results/{response_path('{controller}')}"

    controller: str = Field(description="controller")
    datasets: dict[str, DatasetResponse] = Field(description="dataset -> what its requests took")


class GovernorState(Part):
    """Where a stream of requests stands."""

    requests: int = Field(ge=0, description="requests so far")
    margin: float = Field(
        gt=-1, description="the next request's effective budget is the budget / (slowdown * (1 + margin))"
    )
    slowdown: float = Field(
        gt=0, description="how many times as long as the profile lets expect requests take; 1 with the modelled clock"
    )


class GovernedStream(Part):
    """How a governor went through a stream of requests."""

    start: GovernorState = Field(description="before the first of the requests")
    end: GovernorState = Field(description="after the last of them")


class StreamState(GovernorState, Document):
    """Where a stream of requests stands, kept between the calls of a command that answers one request each."""

    path: ClassVar[str] = "FILE of adamolmo answer --state"

    controller: str = Field(description="controller")
    dataset: str = Field(description="dataset")
    budget: str = Field(description="budget as written")
