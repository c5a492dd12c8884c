"""What is looked up per request: tables, and the latency that its size lets expect."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.documents import Clock, Device, Document, Part


class LookupEntry(Part):
    """What a configuration cost and brought."""

    config: str = Field(description="the configuration")
    accuracy: float = Field(description="mean, median or highest score of its samples")
    latency_ms: float = Field(description="mean or median of its latencies, or that of the sample with this score")
    num_samples: int = Field(description="samples profiled")


class LookupOrigin(Part):
    """What profile a lookup table was made from."""

    model_checksum: str = Field(description="of the model, as in its manifest")
    clock: Clock = Field(description="how latencies were timed")
    device: Device = Field(description="the device that was timed")
    aggregation: str = Field(description="mean, median or max_accuracy")


class LookupFile(Document):
    """What each configuration costs and brings on one dataset, or over all of them, from fast to slow."""

    path: ClassVar[str] = "results/lookup/{aggregation}[/{dataset}].json"

    metadata: LookupOrigin = Field(description="where it comes from")
    entries: tuple[LookupEntry, ...] = Field(description="one per configuration")


class LatencyEntry(Part):
    """What a configuration is expected to take: fixed_ms + ms_per_crop * crops + ms_per_token * prompt tokens."""

    config: str = Field(description="the configuration")
    fixed_ms: float = Field(description="what depends on neither, with the configuration's mean number of decode steps")
    ms_per_crop: float = Field(description="of each crop at the configuration's tier, the overview included")
    ms_per_token: float = Field(description="of each token of the prompt at this tier")


class ExpectedLatencyFile(Document):
    """Latency of a request in every configuration, expected from its crops and prompt tokens, from the stage times of
    one dataset's profile, or of all."""

    path: ClassVar[str] = "results/lookup/expected_latency[/{dataset}].json"

    entries: tuple[LatencyEntry, ...] = Field(description="one per configuration, in the order of the grid")
    error_pct: float = Field(
        ge=0, description="mean absolute difference to the profile's own latencies, in percent of them"
    )
    scatter_pct: float = Field(
        ge=0,
        description="standard deviation of a single request around the latency that the profile has for it, in "
        "percent; 0 where none was estimated and repeats did not differ",
    )
    clock: Clock = Field(description="how latencies were timed")
    device: Device = Field(description="the device that was timed")
