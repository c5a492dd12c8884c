"""What the figures and the report read: one flat row per evaluated cell, one row per static config."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.files.documents import read_json
from adamolmo.files.evaluation import CellSummary
from adamolmo.files.summary import SUMMARY


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """One row per evaluated cell, with the columns of `files.summary`, by dataset, controller and rising budget.

    Raises AdaMolmoError when a file is no evaluated cell, a cell occurs twice, or the cells come from two devices or
    clocks: their latencies cannot stand in one table.
    """
    paths = list(paths)
    if not paths:
        raise AdaMolmoError("The summary has no evaluated cell to collect; expected at least one JSON file.")
    rows = [_row(read_json(path, CellSummary)) for path in paths]
    modelled = rows[0]["clock"] == "modelled"  # then latency does not depend on the device
    for column in ("clock",) if modelled else ("clock", "device"):
        for path, row in zip(paths, rows, strict=True):
            if row[column] != rows[0][column]:
                raise AdaMolmoError(
                    f"{path}: was evaluated with {column} {row[column]} but {paths[0]} with {rows[0][column]}; "
                    f"expected one {column} in a summary."
                )
    table = pd.DataFrame(rows, columns=list(SUMMARY.columns))
    if (twice := table.duplicated(list(SUMMARY.key))).any():
        row = int(twice.to_numpy().argmax())
        raise AdaMolmoError(f"{paths[row]}: the cell {'/'.join(table.loc[row, list(SUMMARY.key)])} occurs twice.")
    return table.sort_values(["dataset", "controller", "budget_ms", "budget"], ignore_index=True)


def at_profile_speed(summary: pd.DataFrame) -> pd.DataFrame:
    """The cells with the latencies and violation rates of a device that is always as fast as during the profile."""
    ends = {"": "", "_low": "_high", "_high": "_low"}  # and which end of the slowdown leads to it
    rates = {f"violation_rate{end}": summary[f"violation_rate_at_profile_speed{end}"] for end in ends}
    latencies = {
        f"{latency}{end}": summary[f"{latency}{end}"] / summary[f"slowdown{other}"]
        for latency in ("latency_p50_ms", "latency_mean_ms")
        for end, other in ends.items()
    }
    return summary.assign(**rates, **latencies)


def misses_budget(summary: pd.DataFrame) -> pd.Series:
    """Of each cell of the summary, whether its median request is over the budget, or under a promised mean the mean."""
    promises_mean = summary["budget"].map(lambda budget: Budget.parse(budget).promise == "mean").astype(bool)
    return summary["latency_p50_ms"].where(~promises_mean, summary["latency_mean_ms"]) > summary["budget_ms"]


def static_configs(profile: pd.DataFrame) -> pd.DataFrame:
    """The static configs of core_exp: means over samples, and also the median of the latency.

    Args:
        profile: rows of one or more core_exp tables.

    Returns dataset, tier, top_k, num_active_blocks, accuracy, latency_ms (median), latency_mean_ms, vision_ms,
    prefill_ms, decode_ms (means); per dataset by tier from cheap to dear, then top_k, then num_active_blocks.
    """
    stages = [stage for stage in STAGES if stage in profile]
    table = (
        profile.groupby(["dataset", *KNOBS], observed=True)
        .agg(
            accuracy=("accuracy", "mean"),
            latency_ms=("latency_ms", "median"),
            latency_mean_ms=("latency_ms", "mean"),
            **{s: (s, "mean") for s in stages},
        )
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


def _row(cell: CellSummary) -> dict[str, object]:
    intervals = {
        "accuracy": cell.accuracy,
        "goodput": cell.goodput,
        "goodput_per_s": cell.goodput_per_s,
        **{f"latency_{name}_ms": interval for name, interval in cell.latency_ms},
        **{f"ttft_{name}_ms": interval for name, interval in cell.ttft_ms},
        **{f"tpot_{name}_ms": interval for name, interval in cell.tpot_ms or ()},
        "joules_per_answer": cell.joules_per_answer,
        "joules_per_right_answer": cell.joules_per_right_answer,
        "violation_rate": cell.violation_rate,
        "violation_rate_at_profile_speed": cell.violation_rate_at_profile_speed,
        "mean_overshoot_pct": cell.mean_overshoot_pct,
        "slowdown": cell.slowdown,
    }
    row = {key: value for key, value in cell if key in SUMMARY.columns}
    known = {column: interval for column, interval in intervals.items() if interval is not None}
    for column, interval in known.items():
        row |= {column: interval.value, f"{column}_low": interval.low, f"{column}_high": interval.high}
    row |= {stage: getattr(cell.stages_ms, stage) for stage in (*STAGES, "preprocess_ms")}
    row |= {key: json.dumps(row[key], sort_keys=True) for key in ("knob_counts", "device")}
    return row | {"num_failed": len(cell.failed)}
