"""The profiling grid, the parts that it is merged from, and the latency that budgets in percent refer to."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.columns import COSTS, IDS, KNOBS, PROVENANCE, SCORED, STAGES
from adamolmo.files.documents import Clock, Device, Document
from adamolmo.files.schema import Column, Table
from adamolmo.statistics.interval import Interval

CORE_EXP_ACCURACY = Table(
    "core_exp_accuracy",
    "results/core_exp[_evaluation]/accuracy/{dataset}-{tier}-{shard}.parquet",
    "Answers of one tier's configurations on one share of the questions; a part of core_exp.",
    ("dataset", *KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        **IDS,
        **KNOBS,
        **SCORED,
        **COSTS,
        "decode_steps": Column("int32", "forward passes after the prompt's", "not negative"),
        "modelled_vision_ms": Column("float32", "stage time of the modelled clock", "not negative"),
        "modelled_prefill_ms": Column("float32", "stage time of the modelled clock", "not negative"),
        "modelled_decode_ms": Column("float32", "stage time of the modelled clock", "not negative"),
    },
    {**PROVENANCE, "failed": "samples that could not be used: {sample_id, reason}"},
)

CORE_EXP_LATENCY = Table(
    "core_exp_latency",
    "results/core_exp/latency/{dataset}-{shard}.parquet",
    "Timed requests of all configurations on one share of the questions that are timed; a part of core_exp.",
    ("dataset", *KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        "sample_id": IDS["sample_id"],
        **KNOBS,
        "answer": Column("text", "the answer of the median run"),
        **STAGES,
        "latency_iqr_ms": Column("float32", "interquartile range of the runs' latency", "not negative"),
        "elapsed_ms": Column("float32", "the median run's own time, to which the stages add up", "positive"),
        "num_runs": Column("int32", "timed runs", "positive"),
        "memory_bytes": Column("int64", "largest peak memory of the runs", "positive"),
        "reference_ms": Column("float32", "median of the speed probe's runs between this sample's rounds", "positive"),
    },
    {
        **PROVENANCE,
        "reference_ms": "every timing of the speed probe, in order",
        "warmup_runs": "warm-up runs made",
    },
)

CORE_EXP = Table(
    "core_exp",
    "results/core_exp[_evaluation]/{dataset}.parquet",
    "The profiling grid: one row per question and knob configuration. Of the profile split, which controllers learn "
    "from; of the evaluation split, which they are judged on, without any timing of its own.",
    ("dataset", *KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        **IDS,
        **KNOBS,
        **SCORED,
        "latency_ms": Column("float32", "sum of the stages below", "positive"),
        **STAGES,
        "latency_iqr_ms": Column("float32", "interquartile range over the repeats; 0 unless measured", "not negative"),
        "latency_source": Column("text", "'measured', 'estimated' from token counts, or 'modelled'"),
        "drift_pct": Column(
            "float32",
            "how far the speed probe was from its median when the row was measured; else 0",
            "not negative",
        ),
        **COSTS,
    },
    {
        **PROVENANCE,
        "num_samples": "questions profiled",
        "num_timed": "questions whose latency was measured",
        "failed": "samples that could not be used: {sample_id, reason}",
        "drift_pct": "largest change of the speed probe's latency during the measurement",
        "drift_limit_pct": "limit above which the drift was reported",
        "unaccounted_pct": "difference between stages and the request's own time: {median, largest} of timed rows",
        "estimate_error_pct": "mean absolute error of estimated latencies on samples held out of the fit",
        "estimate_errors": "the same per tier and over all, with the bias: {mean_absolute_pct, bias_pct}",
        "answer_agreement": "share of timed runs that gave the scored answer",
        "reference_request_ms": "{value, low, high}: median time of the speed probe; null where nothing was timed",
    },
)


class Reference(Document):
    """What a budget in percent refers to, and how fast the device was."""

    path: ClassVar[str] = "results/core_exp/{dataset}.reference.json"

    config: str = Field(description="the full configuration")
    median_latency_ms: float = Field(gt=0, description="its median latency")
    lowest_median_latency_ms: float = Field(gt=0, description="the lowest median latency of any configuration")
    reference_request_ms: Interval | None = Field(
        description="median latency of the speed probe, the same in all profiles and cells; "
        "null with the modelled clock"
    )
    device: Device = Field(description="the device on which it was measured")
    clock: Clock = Field(description="how latencies were timed")
