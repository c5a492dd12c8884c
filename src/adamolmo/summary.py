"""What the figures and the report read: one flat row per evaluated cell, one row per static config."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from adamolmo.errors import AdaMolmoError

_PLAIN = ("budget_ms", "num_samples", "failed", "feasible")
_INTERVALS = {  # column of the value; its bounds are `<column>_low` and `<column>_high`
    "accuracy": ("accuracy",),
    "latency_mean_ms": ("latency_ms", "mean"),
    "latency_p50_ms": ("latency_ms", "p50"),
    "latency_p95_ms": ("latency_ms", "p95"),
    "latency_p99_ms": ("latency_ms", "p99"),
    "violation_rate": ("violation_rate",),
    "mean_overshoot_pct": ("mean_overshoot_pct",),
}
_STAGES = ("vision_ms", "prefill_ms", "controller_ms", "decode_ms")
_COSTS = ("controller_share_pct", "flops", "memory_bytes")
_KEY = ["dataset", "controller", "budget"]

COLUMNS = (
    *_KEY,
    *_PLAIN,
    *(column + end for column in _INTERVALS for end in ("", "_low", "_high")),
    *_STAGES,
    *_COSTS,
    "knob_counts",  # JSON {config name: requests}
    "clock",
    "device",  # JSON, as `latency.describe_device` gives it
)


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """One row per cell of the evaluation, with COLUMNS, sorted by dataset, controller, budget_ms and budget.

    Raises AdaMolmoError when a file is no evaluated cell, a cell occurs twice, or the cells come from two devices or
    clocks: their latencies cannot stand in one table.
    """
    paths = [Path(path) for path in paths]
    if not paths:
        raise AdaMolmoError("The summary has no evaluated cell to collect; expected at least one JSON file.")
    rows = [_row(path) for path in paths]
    for column in ("device", "clock"):
        for path, row in zip(paths, rows, strict=True):
            if row[column] != rows[0][column]:
                raise AdaMolmoError(
                    f"{path} was evaluated with {column} {row[column]} and {paths[0]} with {rows[0][column]}; "
                    f"expected one {column} in a summary."
                )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if (twice := table.duplicated(_KEY)).any():
        cell = "/".join(table.loc[twice.idxmax(), _KEY])
        raise AdaMolmoError(f"The cell {cell} occurs twice among the files of the summary; expected it once.")
    return table.sort_values([*_KEY[:2], "budget_ms", "budget"], ignore_index=True)


def static_configs(profile: pd.DataFrame) -> pd.DataFrame:
    """The static configs of core_exp: means over samples, and the median of the latency.

    Args:
        profile: rows of one or more core_exp tables.

    Returns dataset, tier, top_k, num_active_blocks, accuracy, latency_ms (median), vision_ms, prefill_ms, decode_ms
    (means); per dataset by tier from cheap to dear, then top_k, then num_active_blocks.
    """
    stages = [stage for stage in _STAGES if stage in profile]
    table = (
        profile.groupby(["dataset", "tier", "top_k", "num_active_blocks"], observed=True)
        .agg(accuracy=("accuracy", "mean"), latency_ms=("latency_ms", "median"), **{s: (s, "mean") for s in stages})
        .reset_index()
    )
    tiers = tiers_by_cost(table)
    rank = table["tier"].map(tiers.index)
    return (
        table.assign(rank=rank)
        .sort_values(["dataset", "rank", "top_k", "num_active_blocks"])
        .drop(columns="rank")
        .reset_index(drop=True)
    )


def tiers_by_cost(configs: pd.DataFrame) -> list[str]:
    """The tiers of `static_configs`, cheapest first."""
    return configs.groupby("tier", observed=True)["latency_ms"].mean().sort_values().index.tolist()


def full_latency_ms(configs: pd.DataFrame) -> float:
    """Median latency of the full config of ONE dataset's static configs: what percent budgets refer to."""
    return float(configs.sort_values(["top_k", "num_active_blocks", "latency_ms"])["latency_ms"].iloc[-1])


def _row(path: Path) -> dict[str, object]:
    try:
        cell = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AdaMolmoError(f"{path} is not a readable JSON file: {error}; expected an evaluated cell.") from error
    row: dict[str, object] = {key: _at(cell, path, key) for key in (*_KEY, *_PLAIN, *_COSTS, "clock")}
    for column, keys in _INTERVALS.items():
        row |= {column + end: _at(cell, path, *keys, part) for end, part in _ENDS.items()}
    row |= {stage: _at(cell, path, "stages_ms", stage) for stage in _STAGES}
    return row | {key: json.dumps(_at(cell, path, key), sort_keys=True) for key in ("knob_counts", "device")}


_ENDS = {"": "value", "_low": "low", "_high": "high"}


def _at(cell: object, path: Path, *keys: str) -> object:
    for depth, key in enumerate(keys):
        if not isinstance(cell, dict) or key not in cell:
            raise AdaMolmoError(f"{path} has no key '{'.'.join(keys[: depth + 1])}'; expected an evaluated cell.")
        cell = cell[key]
    return cell
