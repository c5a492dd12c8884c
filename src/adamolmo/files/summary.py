"""All evaluated cells in one table."""

from adamolmo.files.columns import interval
from adamolmo.files.schema import Column, Table

_NO_TOKEN = "missing if all answers are empty"

SUMMARY = Table(
    "summary",
    "results/summary.parquet",
    "One row per cell of the study: dataset, controller and budget.",
    ("dataset", "controller", "budget"),
    {
        "dataset": Column("text", "dataset"),
        "controller": Column("text", "controller"),
        "budget": Column("text", "budget as written in the configuration"),
        "budget_ms": Column("float64", "budget in milliseconds", "positive"),
        "feasible": Column("bool", "whether any configuration meets the budget on the profile"),
        "num_samples": Column("int32", "questions answered", "positive"),
        "num_failed": Column("int32", "questions left out: no readable image, no room for an answer", "not negative"),
        **interval("accuracy", "mean score", "share"),
        **interval("goodput", "mean score of answers within the budget, late ones counting 0", "share"),
        **interval("goodput_per_s", "sum of these scores over the sum of the latencies in seconds", "not negative"),
        **interval("latency_mean_ms", "mean latency", "positive"),
        **interval("latency_p50_ms", "median latency", "positive"),
        **interval("latency_p95_ms", "95th percentile of latency", "positive"),
        **interval("latency_p99_ms", "99th percentile of latency", "positive"),
        **interval("ttft_p50_ms", "median time to first token: vision, controller and prefill", "positive"),
        **interval("ttft_p95_ms", "95th percentile of the time to first token", "positive"),
        **interval("tpot_p50_ms", f"median time per output token; {_NO_TOKEN}", "not negative", optional=True),
        **interval("tpot_p95_ms", f"95th percentile of it; {_NO_TOKEN}", "not negative", optional=True),
        **interval(
            "joules_per_answer",
            "mean energy of a request; missing without an energy counter",
            "not negative",
            optional=True,
        ),
        **interval(
            "joules_per_right_answer",
            "energy over the sum of the scores; missing without an energy counter, or if too few are right",
            "not negative",
            optional=True,
        ),
        **interval("violation_rate", "share of requests above the budget (Clopper-Pearson interval)", "share"),
        **interval("slowdown", "time of the speed probe against that during the profile", "positive"),
        **interval("violation_rate_at_profile_speed", "violation_rate of latencies divided by the slowdown", "share"),
        **interval("mean_overshoot_pct", "mean excess over the budget, in percent of it", "not negative"),
        "vision_ms": Column("float64", "mean", "not negative"),
        "prefill_ms": Column("float64", "mean", "not negative"),
        "controller_ms": Column("float64", "mean", "not negative"),
        "decode_ms": Column("float64", "mean", "not negative"),
        "preprocess_ms": Column("float64", "mean, not part of any latency", "not negative"),
        "controller_share_pct": Column("float64", "controller time in percent of latency", "not negative"),
        "flops": Column("float64", "mean per request", "positive"),
        "memory_bytes": Column("int64", "largest of the requests", "positive"),
        "knob_counts": Column("text", "JSON: configuration -> number of requests"),
        "clock": Column("text", "'measured' or 'modelled', the same in all rows"),
        "device": Column("text", "JSON: the device, of measured rows the same"),
    },
)
