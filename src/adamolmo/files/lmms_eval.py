"""The files of the lmms-eval rules: columns and keys, units, meaning."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.documents import Clock, Device, Document, Part
from adamolmo.files.evaluation import EVALUATION, RequestSummary
from adamolmo.files.governor import GovernedStream
from adamolmo.files.schema import Column, Table

_CELL = "results/lmms_eval/{task}/{controller}/{budget}"
_OF_REQUEST = [name for name in EVALUATION.columns if name not in ("sample_id", "image_id", "prediction", "accuracy")]


class TaskData(Document):
    """What the documents beside it are (the directory is lmms_eval.data)."""

    path: ClassVar[str] = "lmms_eval_data/{task}/prepared.json"

    task: str = Field(description="task of lmms-eval")
    repository: str = Field(description="where its documents come from")
    name: str | None = Field(description="configuration of the repository")
    split: str = Field(description="split that the task evaluates")
    num_documents: int = Field(description="documents")


class Metric(Part):
    """A metric of a task."""

    value: float = Field(description="as the task says")
    low: float | None = Field(
        description="lower end of its 95 % interval: bootstrap over the task's own aggregation, clustered by image"
    )
    high: float | None = Field(description="upper end of it")
    higher_is_better: bool = Field(description="as the task says")
    no_interval: str | None = Field(description="why low and high are null")


class Benchmark(RequestSummary, Document):
    """One task of lmms-eval, answered by one controller under one budget."""

    path: ClassVar[str] = f"{_CELL}.json"

    task: str = Field(description="task")
    controller: str = Field(description="controller")
    budget: str = Field(description="budget as written")
    profile: str = Field(description="dataset whose profile the budget and the lookup tables refer to")
    metrics: dict[str, Metric] = Field(description="metric -> what it came to")
    feasible: bool = Field(description="whether any configuration meets the budget on the profile")
    governor: GovernedStream = Field(description="what became of it")
    device: Device = Field(description="the device")
    clock: Clock = Field(description="how latencies were timed")
    lmms_eval_version: str = Field(description="version of lmms-eval")


ANSWERS = Table(
    "answers",
    f"{_CELL}.parquet",
    "One row per document of the task: a real request under the budget.",
    ("doc_id",),
    {
        "doc_id": Column("int32", "the document's number in its split", "not negative"),
        "image_id": Column("text", "checksum of the image's pixels; several documents can share an image"),
        "prompt": Column("text", "the task's text, without AdaMolmo's format around it"),
        "prediction": Column("text", "the answer, cut at the task's stop strings"),
        "scores": Column("text", "JSON: metric -> what the task made of the answer"),
        **{name: EVALUATION.columns[name] for name in _OF_REQUEST},
    },
    {"resampled": "metric -> its value on every bootstrap resample; equal images give equal resamples"},
)
BENCHMARKS = Table(
    "benchmarks",
    "results/lmms_eval/summary.parquet",
    "One row per task, controller, budget and metric.",
    ("task", "controller", "budget", "metric"),
    {
        "task": Column("text", "task"),
        "controller": Column("text", "controller"),
        "budget": Column("text", "budget as written"),
        "metric": Column("text", "metric of the task"),
        "value": Column("float64", "the metric, in the task's own unit"),
        "value_low": Column("float64", "lower end of its 95 % interval; the value where there is no interval"),
        "value_high": Column("float64", "upper end of its 95 % interval; the value where there is no interval"),
        "has_interval": Column("bool", "whether the metric could be resampled"),
        "higher_is_better": Column("bool", "as the task says"),
        "budget_ms": Column("float64", "budget in milliseconds", "positive"),
        "latency_p50_ms": Column("float64", "median latency", "positive"),
        "latency_p50_ms_low": Column("float64", "lower end of its 95 % interval", "positive"),
        "latency_p50_ms_high": Column("float64", "upper end of its 95 % interval", "positive"),
        "violation_rate": Column("float64", "share of requests above the budget", "share"),
        "violation_rate_low": Column("float64", "lower Clopper-Pearson bound, 95 %", "share"),
        "violation_rate_high": Column("float64", "upper Clopper-Pearson bound, 95 %", "share"),
        "num_documents": Column("int32", "documents answered", "positive"),
    },
)
BENCHMARK_COMPARISONS = Table(
    "benchmark_comparisons",
    "results/lmms_eval/comparisons.parquet",
    "Two controllers on the same documents under the same budget: paired bootstrap, clustered by image.",
    ("task", "budget", "metric", "controller", "other"),
    {
        "task": Column("text", "task"),
        "budget": Column("text", "budget as written"),
        "metric": Column("text", "metric of the task"),
        "controller": Column("text", "one controller"),
        "other": Column("text", "the other one"),
        "difference": Column("float64", "the controller's metric minus the other's"),
        "difference_low": Column("float64", "lower end of its 95 % interval"),
        "difference_high": Column("float64", "upper end of its 95 % interval"),
    },
)
