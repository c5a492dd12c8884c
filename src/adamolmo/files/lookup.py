"""Lookup tables, for controllers that choose the same configuration for every sample of a dataset."""

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
