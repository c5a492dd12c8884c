"""What a profile holds, in a few lines of text: origin, size, quality of the latencies, failures, frontier."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pandas import DataFrame

from adamolmo.files.columns import IDS, KNOBS
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.schema import read_table
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import clustered_bootstrap, median
from adamolmo.statistics.pareto import frontier

_FAILURES_SHOWN = 20
_COLUMNS = ["dataset", *IDS, *KNOBS, "accuracy", "latency_ms", "latency_source", "drift_pct"]


def inspect_profile(path: str | Path) -> str:
    """The summary of a core_exp table. Raises AdaMolmoError naming the file when it is not one."""
    table, metadata = read_table(path, CORE_EXP, _COLUMNS)
    dataset = ", ".join(sorted(table["dataset"].unique()))
    lines = [f"profile of {dataset}: {path}"]
    for title, text in [*_origin(metadata), *_size(table), *_quality(table, metadata)]:
        lines.append(f"{title:<10}{text}")
    return "\n".join([*lines, *_failures(metadata), *_frontier(table)])


def _origin(metadata: Mapping) -> Iterator[tuple[str, str]]:
    device = metadata["device"]
    yield "device", ", ".join(f"{key} {value}" for key, value in device.items())
    yield "clock", metadata["clock"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    yield "model", f"sha256 {metadata['model_checksum'][:16]}"
    yield "data", f"sha256 {metadata['data_checksum'][:16]}, seed {metadata['seed']}"


def _size(table: DataFrame) -> Iterator[tuple[str, str]]:
    configs, samples = len(table.groupby([*KNOBS], observed=True)), table["sample_id"].nunique()
    images = table["image_id"].nunique()
    yield "rows", f"{len(table)}: {configs} configurations x {samples} samples ({images} images)"


def _quality(table: DataFrame, metadata: Mapping) -> Iterator[tuple[str, str]]:
    counts = table["latency_source"].value_counts().to_dict()
    yield "latency", ", ".join(f"{counts[source]} rows {source}" for source in sorted(counts))
    if metadata["clock"] == "modelled":
        return
    errors = metadata["estimate_errors"]
    parts = [
        f"{tier} {error['mean_absolute_pct']:.1f} % (bias {error['bias_pct']:+.1f} %)" for tier, error in errors.items()
    ]
    yield "estimates", f"error on held-out samples: {', '.join(parts) or 'unknown, only one sample was timed'}"
    limit = metadata["drift_limit_pct"]
    timed = table[table["latency_source"] == "measured"]
    above = int((timed["drift_pct"] > limit).sum())
    yield "drift", f"{metadata['drift_pct']:.1f} % (limit {limit:g} %); {above} of {len(timed)} measured rows above it"
    unaccounted = metadata["unaccounted_pct"]
    yield (
        "stages",
        f"differ from the request's own time by {unaccounted['median']:.2f} % in the median row, "
        f"{unaccounted['largest']:.2f} % at most",
    )
    yield "answers", f"{100 * metadata['answer_agreement']:.1f} % of the timed runs gave the scored answer"


def _failures(metadata: Mapping) -> Iterator[str]:
    failed = metadata["failed"]
    yield f"{'failed':<10}{len(failed)} of {len(failed) + metadata['num_samples']} samples"
    for entry in failed[:_FAILURES_SHOWN]:
        yield f"  {entry['sample_id']}: {entry['reason']}"
    if len(failed) > _FAILURES_SHOWN:
        yield f"  and {len(failed) - _FAILURES_SHOWN} more"


def _frontier(table: DataFrame) -> Iterator[str]:
    """Configurations that no other beats in mean accuracy and median latency, with 95 % intervals by image."""
    groups = table.groupby([*KNOBS], observed=True)
    configs = groups.agg(accuracy=("accuracy", "mean"), latency_ms=("latency_ms", "median"))
    best = configs.iloc[frontier(configs["latency_ms"], configs["accuracy"])]
    yield f"frontier  {len(best)} configurations: mean accuracy, median latency (95 % intervals)"
    for key in best.index:
        rows = groups.get_group(key)
        accuracy = clustered_bootstrap(rows["accuracy"], rows["image_id"])
        latency = clustered_bootstrap(rows["latency_ms"], rows["image_id"], median)
        yield (
            f"  {KnobConfig(*key)!s:<16}{accuracy.value:.3f} ({accuracy.low:.3f}-{accuracy.high:.3f})  "
            f"{latency.value:.1f} ms ({latency.low:.1f}-{latency.high:.1f})"
        )
