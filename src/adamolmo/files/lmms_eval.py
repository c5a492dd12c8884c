"""The files of the lmms-eval rules: columns and keys, units, meaning."""

from adamolmo.files.evaluation import CELL, EVALUATION
from adamolmo.files.schema import Column, Document, Table

_CELL = "results/lmms_eval/{task}/{controller}/{budget}"
_OF_REQUEST = [name for name in EVALUATION.columns if name not in ("sample_id", "image_id", "prediction", "accuracy")]
_AGAINST_PROFILE = ("slowdown", "violation_rate_at_profile_speed")
_OF_CELLS_ALONE = ("dataset", "controller", "budget", "accuracy", "failed", *_AGAINST_PROFILE)
_REQUESTS = [key for key in CELL.keys if key not in _OF_CELLS_ALONE]

TASK_DATA = Document(
    "task_data",
    "lmms_eval_data/{task}/prepared.json",
    "What the documents beside it are (the directory is lmms_eval.data).",
    {
        "task": (str, "task of lmms-eval"),
        "repository": (str, "where its documents come from"),
        "name": (str | None, "configuration of the repository"),
        "split": (str, "split that the task evaluates"),
        "num_documents": (int, "documents"),
    },
)
BENCHMARK = Document(
    "benchmark",
    f"{_CELL}.json",
    "One task of lmms-eval, answered by one controller under one budget.",
    {
        "task": (str, "task"),
        "controller": (str, "controller"),
        "budget": (str, "budget as written"),
        "profile": (str, "dataset whose profile the budget and the lookup tables refer to"),
        "metrics": (
            dict,
            "metric -> {value, low, high, higher_is_better, no_interval}: 95 % bootstrap over the task's own "
            "aggregation, clustered by image; without one, low and high are null and no_interval says why",
        ),
        **{key: CELL.keys[key] for key in _REQUESTS},
        "lmms_eval_version": (str, "version of lmms-eval"),
    },
)
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

LMMS_FILES = (TASK_DATA, BENCHMARK, ANSWERS, BENCHMARKS, BENCHMARK_COMPARISONS)
