"""The profile of a dataset, put together from the tables of its jobs: accuracy by (tier, shard), latency by shard."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pandas import DataFrame, concat

from adamolmo.core_exp.latency_model import (
    WORK,
    StageModel,
    estimate_errors,
    held_out_estimates,
    with_decode_steps,
)
from adamolmo.core_exp.provenance import KEYS as SAME
from adamolmo.core_exp.reading import SHARED
from adamolmo.data.samples import check_failures
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.files.core_exp import CORE_EXP, Reference
from adamolmo.knobs import KnobConfig
from adamolmo.progress import note
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import median_interval

Parts = Mapping[str | Path, tuple[DataFrame, Mapping]]

KEY = ["sample_id", *KNOBS]
# Rounding differs between a batch and a single request, so a tie may break the other way now and then; more than this
# means that another model was timed than was scored.
_LEAST_AGREEMENT = 0.98
_MOST_UNACCOUNTED_PCT = 1.0


def merge_profile(
    accuracy: Parts,
    latency: Parts,
    configs: Sequence[KnobConfig],
    *,
    fixed_prefix_layers: int,
    max_failed_fraction: float,
    drift_limit_pct: float,
) -> tuple[DataFrame, dict]:
    """The rows of the table `core_exp` and its metadata.

    Args:
        accuracy: tables `core_exp_accuracy` with their metadata, by file.
        latency: tables `core_exp_latency` with theirs, by file; none with the modelled clock.
        configs: every sample must have exactly these rows.

    Raises AdaMolmoError when the files do not belong together (two devices, models, ...), rows are missing, too many
    samples are unreadable, or timed and scored answers disagree.
    """
    _shared_metadata({**accuracy, **latency})
    table, metadata = _merge_accuracy(accuracy, configs, max_failed_fraction)
    metadata["drift_limit_pct"] = drift_limit_pct
    if metadata["clock"] == "modelled":
        table, measured = _modelled(table), _NOTHING_MEASURED
    else:
        table, measured = _add_latencies(table, latency, fixed_prefix_layers)
        if measured["drift_pct"] > drift_limit_pct:
            note(f"latency drifted by {measured['drift_pct']:.1f} % (limit {drift_limit_pct:g} %): busy device?")
    return _with_latency(table), metadata | measured


def merge_estimated(
    accuracy: Parts,
    profile: tuple[DataFrame, Mapping],
    configs: Sequence[KnobConfig],
    *,
    fixed_prefix_layers: int,
    max_new_tokens: int,
    max_failed_fraction: float,
) -> tuple[DataFrame, dict]:
    """The same of questions of which none is timed: their latencies are what the stage model of a profile says, so that
    they belong to the profile's device at the profile's speed.

    Args:
        accuracy: tables `core_exp_accuracy` with their metadata, by file.
        profile: the table `core_exp` of the same dataset's profile split with its metadata.

    Raises AdaMolmoError when rows are missing, too many samples are unreadable, or the profile is of another model,
    device or clock.
    """
    table, metadata = _merge_accuracy(accuracy, configs, max_failed_fraction)
    rows, of_profile = profile
    for key in SHARED:
        if metadata[key] != of_profile[key]:
            raise AdaMolmoError(
                f"{next(iter(accuracy))}: was made with {key} {metadata[key]}, but the profile with {of_profile[key]}; "
                "expected the profile's."
            )
    if metadata["clock"] == "modelled":
        table = _modelled(table)
    else:
        timed = with_decode_steps(rows[rows["latency_source"] == "measured"], max_new_tokens)
        estimates = StageModel(timed.astype({"tier": str}), fixed_prefix_layers).predict(table)
        table = table.assign(**estimates, latency_iqr_ms=0.0, drift_pct=0.0, latency_source="estimated")
    return _with_latency(table), metadata | _NOTHING_MEASURED | {"drift_limit_pct": of_profile["drift_limit_pct"]}


def _merge_accuracy(
    accuracy: Parts, configs: Sequence[KnobConfig], max_failed_fraction: float
) -> tuple[DataFrame, dict]:
    """All rows of the parts, complete, and the metadata that they share."""
    shared, table = _shared_metadata(accuracy), _concat(accuracy)
    failed = {entry["sample_id"]: entry for _, metadata in accuracy.values() for entry in metadata["failed"]}
    num_samples = table["sample_id"].nunique()
    check_failures(list(failed.values()), num_samples + len(failed), max_failed_fraction)
    _check_complete(table, configs)
    unreadable = [failed[sample_id] for sample_id in sorted(failed)]
    return table, {**shared, "num_samples": num_samples, "failed": unreadable}


def _modelled(table: DataFrame) -> DataFrame:
    stages = {stage: table[f"modelled_{stage}"] for stage in STAGES}
    return table.assign(**stages, latency_iqr_ms=0.0, drift_pct=0.0, latency_source="modelled")


def _with_latency(table: DataFrame) -> DataFrame:
    table[[*STAGES]] = table[[*STAGES]].astype("float32")
    return table.assign(latency_ms=table[[*STAGES]].sum(axis=1))[list(CORE_EXP.columns)]


_NOTHING_MEASURED = {
    "num_timed": 0,
    "drift_pct": None,
    "unaccounted_pct": None,
    "estimate_error_pct": None,
    "estimate_errors": {},
    "answer_agreement": None,
    "reference_request_ms": None,
}


def _shared_metadata(parts: Parts) -> dict:
    first, (_, expected) = next(iter(parts.items()))
    for path, (_, metadata) in parts.items():
        for key in SAME:
            if metadata[key] != expected[key]:
                raise AdaMolmoError(
                    f"{path}: was made with {key} {metadata[key]}, but {first} with {expected[key]}; "
                    "expected the same in all parts of a profile."
                )
    return {key: expected[key] for key in SAME}


def _concat(parts: Parts) -> DataFrame:
    filled = [table for table, _ in parts.values() if len(table)]
    return concat(filled, ignore_index=True) if filled else next(iter(parts.values()))[0]


def _check_complete(table: DataFrame, configs: Sequence[KnobConfig]) -> None:
    found = table.groupby([*KNOBS], observed=True)["sample_id"].nunique()
    num_samples = table["sample_id"].nunique()
    for config in configs:
        count = found.get(tuple(vars(config).values()), 0)
        if count != num_samples:
            raise AdaMolmoError(
                f"the profile has {count} samples of {config}, expected {num_samples} as in the whole; "
                "a shard is missing or belongs to another study."
            )
    if len(table) != num_samples * len(configs):
        raise AdaMolmoError(
            f"the profile has {len(table)} rows; expected {num_samples} samples x {len(configs)} configurations."
        )


def _add_latencies(table: DataFrame, latency: Parts, fixed_prefix_layers: int) -> tuple[DataFrame, dict]:
    """Measured stage times where there are some, estimates elsewhere; and what is known of their quality."""
    table, timed = table.set_index(KEY), _concat(latency).set_index(KEY)
    if timed.empty:
        raise AdaMolmoError("no sample was timed; expected some in the latency tables (latency.samples).")
    if unknown := set(timed.index) - set(table.index):
        raise AdaMolmoError(f"{sorted(unknown)[0]} was timed but not scored; expected it in the accuracy tables.")
    agreement = float((timed["answer"] == table.loc[timed.index, "prediction"]).mean())
    if agreement < _LEAST_AGREEMENT:
        raise AdaMolmoError(
            f"only {100 * agreement:.1f} % of the timed runs gave the scored answer; expected at least "
            f"{100 * _LEAST_AGREEMENT:g} %, so the latencies do not belong to these answers."
        )
    unaccounted = 100 * (timed["elapsed_ms"] / timed[[*STAGES]].sum(axis=1) - 1).abs()
    if unaccounted.median() > _MOST_UNACCOUNTED_PCT:
        raise AdaMolmoError(
            f"stages add up to {unaccounted.median():.1f} % less than the request's own time (median of the timed "
            f"runs); expected at most {_MOST_UNACCOUNTED_PCT:g} %."
        )
    reference_request_ms = median_interval(timed.groupby("sample_id")["reference_ms"].first())
    timed["drift_pct"] = 100 * (timed["reference_ms"] / reference_request_ms.value - 1).abs()
    with_work = timed.join(table[WORK]).reset_index()
    errors = estimate_errors(held_out_estimates(with_work, fixed_prefix_layers))

    estimates = StageModel(with_work, fixed_prefix_layers).predict(table.reset_index())
    table = table.assign(latency_iqr_ms=0.0, drift_pct=0.0, latency_source="estimated")
    table[[*STAGES]] = estimates.to_numpy()
    columns = [*STAGES, "latency_iqr_ms", "drift_pct", "memory_bytes"]
    table.loc[timed.index, columns] = timed[columns]
    table.loc[timed.index, "latency_source"] = "measured"
    quality = {
        "num_timed": timed.index.get_level_values("sample_id").nunique(),
        "drift_pct": drift([metadata["reference_ms"] for _, metadata in latency.values()]),
        "unaccounted_pct": {"median": float(unaccounted.median()), "largest": float(unaccounted.max())},
        "estimate_error_pct": errors["all"]["mean_absolute_pct"] if errors else None,
        "estimate_errors": errors,
        "answer_agreement": agreement,
        "reference_request_ms": vars(reference_request_ms),
    }
    return table.reset_index(), quality


def drift(series: Sequence[Sequence[float]], parts: int = 4) -> float:
    """How far the medians of successive parts of the passes lie apart, in percent of the lowest.

    Args:
        series: the reference's times in ms, in order, of each pass.
    """
    medians = [
        float(np.median(part))
        for times_ms in series
        if len(times_ms)
        for part in np.array_split(times_ms, min(parts, len(times_ms)))
    ]
    return 100 * (max(medians) / min(medians) - 1)


def reference_latency(table: DataFrame, metadata: Mapping, reference: KnobConfig) -> Reference:
    """What cells are compared with: the median latency of the reference configuration, which budgets in percent refer
    to, the lowest of any, and that of the speed probe."""
    medians_ms = table.groupby([*KNOBS], observed=True)["latency_ms"].median()
    key = tuple(vars(reference).values())
    if key not in medians_ms.index:
        raise AdaMolmoError(f"the profile has no rows of {reference}; expected the reference configuration in it.")
    probe_ms = metadata["reference_request_ms"]
    return Reference(
        config=str(reference),
        median_latency_ms=float(medians_ms[key]),
        lowest_median_latency_ms=float(medians_ms.min()),
        reference_request_ms=probe_ms and Interval(**probe_ms),
        device=metadata["device"],
        clock=metadata["clock"],
    )
