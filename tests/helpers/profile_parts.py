"""The parts of a made-up profile, whose stage times are of the latency model's form."""

from pandas import DataFrame

from adamolmo.core_exp.merge import merge_profile
from adamolmo.files.columns import KNOBS, STAGES

PROVENANCE = {
    "device": {"kind": "cpu"},
    "clock": "measured",
    "versions": {"torch": "1"},
    "model_checksum": "m",
    "data_checksum": "d",
    "seed": 0,
}


def parts(grid, clock="measured", **metadata):
    """Accuracy tables by (tier, shard), and latency tables by shard, with their metadata: 12 samples, 8 timed."""
    shared = PROVENANCE | {"clock": clock} | metadata
    rows = DataFrame([scored(number, config) for number in range(12) for config in grid])
    accuracy = {
        f"a-{tier}-{shard}": (part, shared | {"failed": []})
        for tier in ("low", "high")
        for shard, part in enumerate(_shards(rows[rows["tier"] == tier]))
    }
    timed = DataFrame([_timed(row) for row in rows[rows["number"] < 8].itertuples()])
    latency = {
        f"l-{shard}": (part, shared | {"reference_ms": [10.0, 10.0, 10.2, 10.4], "warmup_runs": 10})
        for shard, part in enumerate(_shards(timed))
    }
    return accuracy, latency if clock == "measured" else {}


def _shards(rows):
    return [rows[rows["number"] % 2 == shard].drop(columns="number").reset_index(drop=True) for shard in (0, 1)]


def scored(number, config):
    return {
        "number": number,
        "dataset": "tiny",
        "sample_id": f"s{number:02}",
        "image_id": f"i{number // 3}",
        **vars(config),
        "prediction": "red" if number % 2 else "blue",
        "accuracy": float(number % 2),
        "num_crops": (2 if config.tier == "low" else 3) + number % 3 * (config.tier == "high"),
        "input_tokens": 30 + 10 * (number % 5),
        "output_tokens": 1 + number % 3,
        "flops": 1e6,
        "memory_bytes": 1000,
        "decode_steps": 1 + number % 3,
        **{f"modelled_{stage}": 1.0 + index for index, stage in enumerate(STAGES)},
    }


def true_stages(row):
    adaptive = row.num_active_blocks - 3
    vision = 1 + 2 * row.num_crops
    prefill = 1 + 0.1 * row.input_tokens + adaptive * (0.2 * row.top_k + 0.01 * row.top_k * row.input_tokens)
    return vision, prefill, 0.5 + row.decode_steps * (1 + adaptive * 0.1 * row.top_k)


def _timed(row):
    stages = true_stages(row)
    names = ("number", "dataset", "sample_id", *KNOBS)
    return {name: getattr(row, name) for name in names} | {
        "answer": row.prediction,
        **dict(zip(STAGES, stages, strict=True)),
        "latency_iqr_ms": 0.1,
        "elapsed_ms": sum(stages) * 1.004,
        "num_runs": 3,
        "memory_bytes": 2000,
        "reference_ms": 10.0 + 0.1 * (row.number == 3),
    }


def merge(accuracy, latency, configs, **overrides):
    settings = {"fixed_prefix_layers": 3, "max_failed_fraction": 0.1, "drift_limit_pct": 5.0}
    return merge_profile(accuracy, latency, configs, **settings | overrides)


def change_part(parts, name, change=None, **metadata):
    table, found = parts[name]
    return parts | {name: (change(table.copy()) if change else table, found | metadata)}
