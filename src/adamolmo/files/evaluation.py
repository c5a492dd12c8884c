"""One evaluated cell: a controller on a dataset under a budget."""

from adamolmo.files.columns import COSTS, IDS, KNOBS, SCORED, STAGES
from adamolmo.files.schema import Column, Document, Table

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
        "request": Column("int32", "place in the stream of requests, from 0", "not negative"),
        "margin": Column("float64", "the governor's at this request: its effective budget was budget / (1 + margin)"),
        "price_per_ms": Column("float64", "the governor's for a ms, in right answers; 0: none", "not negative"),
        "budget_met": Column("bool", "whether latency_ms is at most the budget"),
    },
)

_INTERVAL = "{value, low, high}, 95 %"

CELL = Document(
    "cell",
    "results/eval/{dataset}/{controller}/{budget}.json",
    "One cell of the study, summarised over the evaluation split.",
    {
        "dataset": (str, "dataset"),
        "controller": (str, "controller"),
        "budget": (str, "budget as written"),
        "budget_ms": (float, "budget in milliseconds"),
        "feasible": (bool, "whether any configuration meets the budget on the profile"),
        "num_samples": (int, "questions answered"),
        "failed": (list, "unreadable samples: {sample_id, reason}"),
        "accuracy": (dict, _INTERVAL),
        "latency_ms": (dict, "mean, p50, p95, p99, each " + _INTERVAL),
        "violation_rate": (dict, _INTERVAL + ", Clopper-Pearson"),
        "mean_overshoot_pct": (dict, _INTERVAL),
        "knob_counts": (dict, "configuration -> number of requests"),
        "stages_ms": (dict, "mean of vision_ms, prefill_ms, controller_ms, decode_ms, preprocess_ms"),
        "controller_ms": (float, "mean controller time"),
        "controller_share_pct": (float, "controller time in percent of latency"),
        "governor": (
            dict | None,
            "{start, end}: requests so far and the margin, before the first and after the last; null for the oracle",
        ),
        "slowdown": (
            dict,
            _INTERVAL + ": how many times as long as during the profile the speed probe took; 1 with the "
            "modelled clock",
        ),
        "violation_rate_at_profile_speed": (dict, _INTERVAL + ", of the latencies divided by the slowdown"),
        "flops": (float, "mean per request"),
        "memory_bytes": (int, "largest of the requests"),
        "device": (dict, "the device"),
        "clock": (str, "'measured' or 'modelled'"),
    },
)
