"""One evaluated cell: a controller on a dataset under a budget."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.columns import COSTS, IDS, KNOBS, SCORED, STAGES
from adamolmo.files.documents import Clock, Device, Document, Failed, Part
from adamolmo.files.governor import GovernedStream
from adamolmo.files.schema import Column, Table
from adamolmo.statistics.interval import Interval

EVALUATION = Table(
    "evaluation",
    "results/eval/{dataset}/{controller}/{budget}.parquet",
    "One row per question of the evaluation split: a real request under the budget.",
    ("sample_id",),
    {
        **IDS,
        **SCORED,
        **KNOBS,
        "latency_ms": Column("float32", "sum of vision, prefill, controller and decode", "positive"),
        "vision_ms": STAGES["vision_ms"],
        "prefill_ms": STAGES["prefill_ms"],
        "controller_ms": Column("float32", "the controller's decisions", "not negative"),
        "decode_ms": STAGES["decode_ms"],
        "preprocess_ms": Column(
            "float32", "resizing and cropping the decoded image, not part of latency_ms", "not negative"
        ),
        **COSTS,
        "network_decided": Column("bool", "whether a network chose the knobs from what it read; if not, a table"),
        "energy_j": Column(
            "float32",
            "joules of the device during the request and its preprocessing; missing without an energy counter",
            "not negative",
            optional=True,
        ),
        "request": Column("int32", "place in the stream of requests, from 0", "not negative"),
        "margin": Column(
            "float64", "the governor's at this request: its effective budget was budget / (slowdown * (1 + margin))"
        ),
        "slowdown": Column("float64", "how many times as long as the profile lets expect requests took", "positive"),
        "price_per_ms": Column("float64", "the governor's for a ms, in right answers; 0: none", "not negative"),
        "budget_met": Column("bool", "whether latency_ms is at most the budget"),
    },
)


class LatencySummary(Part):
    """Latency of the requests."""

    mean: Interval = Field(description="mean")
    p50: Interval = Field(description="median")
    p95: Interval = Field(description="95th percentile")
    p99: Interval = Field(description="99th percentile")


class Percentiles(Part):
    """Of requests."""

    p50: Interval = Field(description="median")
    p95: Interval = Field(description="95th percentile")


class StageMeans(Part):
    """What the stages of a request take on average."""

    vision_ms: float = Field(description="vision tower and projector")
    prefill_ms: float = Field(description="prompt and image tokens through the decoder")
    controller_ms: float = Field(description="the controller's decisions")
    decode_ms: float = Field(description="the further tokens")
    preprocess_ms: float = Field(description="resizing and cropping, not part of the latency")


class RequestSummary(Part):
    """What requests under one budget took, and with which knobs."""

    budget_ms: float = Field(description="budget in milliseconds")
    num_samples: int = Field(description="questions answered")
    latency_ms: LatencySummary = Field(description="latency of a request")
    violation_rate: Interval = Field(description="share of requests above the budget (Clopper-Pearson)")
    mean_overshoot_pct: Interval = Field(description="mean excess over the budget, in percent of it")
    knob_counts: dict[str, int] = Field(description="configuration -> number of requests")
    stages_ms: StageMeans = Field(description="means of the stages")
    ttft_ms: Percentiles = Field(description="time to first token: vision, controller and prefill")
    tpot_ms: Percentiles | None = Field(
        description="time per output token: decode_ms over output_tokens; null if all answers are empty"
    )
    joules_per_answer: Interval | None = Field(description="mean energy of a request; null without an energy counter")
    controller_ms: float = Field(description="mean controller time")
    controller_share_pct: float = Field(description="controller time in percent of latency")
    flops: float = Field(description="mean per request")
    memory_bytes: int = Field(description="largest of the requests")


class CellSummary(RequestSummary, Document):
    """One cell of the study, summarised over the evaluation split."""

    path: ClassVar[str] = "results/eval/{dataset}/{controller}/{budget}.json"

    dataset: str = Field(description="dataset")
    controller: str = Field(description="controller")
    budget: str = Field(description="budget as written")
    feasible: bool = Field(description="whether any configuration meets the budget on the profile")
    failed: tuple[Failed, ...] = Field(description="samples that could not be used")
    accuracy: Interval = Field(description="mean score")
    goodput: Interval = Field(description="mean score of answers within the budget, late ones counting 0")
    goodput_per_s: Interval = Field(description="sum of these scores over the sum of the latencies in seconds")
    joules_per_right_answer: Interval | None = Field(
        description="energy over the sum of the scores; null without an energy counter, or if too few are right"
    )
    slowdown: Interval = Field(
        description="how many times as long as during the profile the speed probe took; 1 with the modelled clock"
    )
    violation_rate_at_profile_speed: Interval = Field(
        description="violation_rate of the latencies divided by the slowdown"
    )
    governor: GovernedStream | None = Field(description="what became of it; null for the oracle, which has none")
    device: Device = Field(description="the device")
    clock: Clock = Field(description="how latencies were timed")
