"""Every file that crosses a rule boundary of the study: columns and keys, units, meaning; checked on write and on read.

`docs/results-schema.md` is generated from the declarations here. Equal content gives equal bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from adamolmo.errors import AdaMolmoError
from adamolmo.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from pandas import DataFrame

_TYPES = {
    "text": "string",
    "bytes": "binary",
    "texts": "list<string>",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "float32": "float32",
    "float64": "float64",
    "bool": "bool",
}


@dataclass(frozen=True)
class Column:
    """One column. `values` limits numbers: "positive", "not negative" or "share" (0 to 1); none is missing or NaN."""

    type: str
    meaning: str
    values: str = ""


@dataclass(frozen=True)
class Table:
    """A Parquet file. Rows are sorted by `key`, which no two rows share."""

    name: str
    path: str
    meaning: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A JSON file: its top-level keys with (Python type, meaning). Numbers are finite."""

    name: str
    path: str
    meaning: str
    keys: Mapping[str, tuple[type | UnionType, str]]


_IDS = {
    "sample_id": Column("text", "the question's id, unique in its dataset"),
    "image_id": Column("text", "the image's id; several questions can share an image"),
}
_KNOBS = {
    "tier": Column("text", "vision tier"),
    "top_k": Column("int8", "experts per token after the fixed prefix", "positive"),
    "num_active_blocks": Column("int8", "transformer blocks that ran", "positive"),
}
_COSTS = {
    "num_crops": Column("int32", "crops encoded, the overview included", "positive"),
    "input_tokens": Column("int32", "tokens at prefill", "positive"),
    "output_tokens": Column("int32", "length of the answer in tokens, without the end token", "not negative"),
    "flops": Column("float64", "floating-point operations of the request", "positive"),
    "memory_bytes": Column("int64", "estimated or measured peak memory", "positive"),
}

SAMPLES = Table(
    "samples",
    "results/data/{dataset}/{split}.parquet",
    "One row per question of a split (importance, profile or evaluation), with the image itself.",
    ("sample_id",),
    {
        **_IDS,
        "image": Column("bytes", "the image file (PNG, JPEG, ...)"),
        "question": Column("text", "the question, without prompt"),
        "answers": Column("texts", "reference answers, at least one"),
    },
)

_SCORED = {
    "prediction": Column("text", "the answer"),
    "accuracy": Column("float32", "the dataset's score of the answer", "share"),
}
_STAGES = {
    "vision_ms": Column("float32", "vision tower and projector", "not negative"),
    "prefill_ms": Column(
        "float32", "prompt and image tokens through the decoder, first token included", "not negative"
    ),
    "decode_ms": Column("float32", "the further tokens", "not negative"),
}
_PROVENANCE = {
    "device": "the device that was timed",
    "clock": "'measured' or 'modelled'",
    "versions": "of adamolmo, Python, PyTorch and NumPy",
    "model_checksum": "of the model, as in its manifest",
    "data_checksum": "sha256 of the samples' file",
    "seed": "the study's seed",
}

CORE_EXP_ACCURACY = Table(
    "core_exp_accuracy",
    "results/core_exp/accuracy/{dataset}-{tier}-{shard}.parquet",
    "Answers of one tier's configurations on one share of the questions; a part of core_exp.",
    ("dataset", *_KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        **_IDS,
        **_KNOBS,
        **_SCORED,
        **_COSTS,
        "decode_steps": Column("int32", "forward passes after the prompt's", "not negative"),
        "modelled_vision_ms": Column("float32", "stage time of the modelled clock", "not negative"),
        "modelled_prefill_ms": Column("float32", "stage time of the modelled clock", "not negative"),
        "modelled_decode_ms": Column("float32", "stage time of the modelled clock", "not negative"),
    },
    {**_PROVENANCE, "failed": "unreadable samples: {sample_id, reason}"},
)

CORE_EXP_LATENCY = Table(
    "core_exp_latency",
    "results/core_exp/latency/{dataset}-{shard}.parquet",
    "Timed requests of all configurations on one share of the questions that are timed; a part of core_exp.",
    ("dataset", *_KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        "sample_id": _IDS["sample_id"],
        **_KNOBS,
        "answer": Column("text", "the answer of the median run"),
        **_STAGES,
        "latency_iqr_ms": Column("float32", "interquartile range of the runs' latency", "not negative"),
        "elapsed_ms": Column("float32", "the median run's own time, to which the stages add up", "positive"),
        "num_runs": Column("int32", "timed runs", "positive"),
        "memory_bytes": Column("int64", "largest peak memory of the runs", "positive"),
        "reference_ms": Column("float32", "median of the reference's runs between this sample's rounds", "positive"),
    },
    {
        **_PROVENANCE,
        "reference_ms": "every timing of the reference request, in order",
        "warmup_runs": "warm-up runs made",
    },
)

CORE_EXP = Table(
    "core_exp",
    "results/core_exp/{dataset}.parquet",
    "The profiling grid: one row per question of the profile split and knob configuration.",
    ("dataset", *_KNOBS, "sample_id"),
    {
        "dataset": Column("text", "dataset"),
        **_IDS,
        **_KNOBS,
        **_SCORED,
        "latency_ms": Column("float32", "sum of the stages below", "positive"),
        **_STAGES,
        "latency_iqr_ms": Column("float32", "interquartile range over the repeats; 0 unless measured", "not negative"),
        "latency_source": Column("text", "'measured', 'estimated' from token counts, or 'modelled'"),
        "drift_pct": Column(
            "float32", "how far the reference was from its median when the row was measured; else 0", "not negative"
        ),
        **_COSTS,
    },
    {
        **_PROVENANCE,
        "num_samples": "questions profiled",
        "num_timed": "questions whose latency was measured",
        "failed": "unreadable samples: {sample_id, reason}",
        "drift_pct": "largest change of the reference configuration's latency during the measurement",
        "drift_limit_pct": "limit above which the drift was reported",
        "unaccounted_pct": "difference between stages and the request's own time: {median, largest} of timed rows",
        "estimate_error_pct": "mean absolute error of estimated latencies on samples held out of the fit",
        "estimate_errors": "the same per tier and over all, with the bias: {mean_absolute_pct, bias_pct}",
        "answer_agreement": "share of timed runs that gave the scored answer",
    },
)

EVALUATION = Table(
    "evaluation",
    "results/eval/{dataset}/{controller}/{budget}.parquet",
    "One row per question of the evaluation split: a real request under the budget.",
    ("sample_id",),
    {
        **_IDS,
        "prediction": Column("text", "the answer"),
        "accuracy": Column("float32", "the dataset's score of the answer", "share"),
        **_KNOBS,
        "latency_ms": Column("float32", "sum of vision, prefill, controller and decode", "positive"),
        "vision_ms": Column("float32", "vision tower and projector", "not negative"),
        "prefill_ms": Column(
            "float32", "prompt and image tokens through the decoder, first token included", "not negative"
        ),
        "controller_ms": Column("float32", "the controller's decisions", "not negative"),
        "decode_ms": Column("float32", "the further tokens", "not negative"),
        "preprocess_ms": Column(
            "float32", "resizing and cropping the decoded image, not part of latency_ms", "not negative"
        ),
        **_COSTS,
    },
)

TRAINING = Table(
    "training",
    "results/controllers/{controller}/training.parquet",
    "The training log: means over the steps since the row before.",
    ("step",),
    {
        "step": Column("int32", "optimiser step, from 1", "positive"),
        "reward": Column("float32", "expected under the policy"),
        "accuracy": Column("float32", "expected under the policy", "share"),
        "violation_rate": Column("float32", "expected share of requests above the budget", "share"),
        "kl": Column("float32", "KL divergence to the reference policy"),
        "entropy": Column("float32", "entropy of the policy, in nats", "not negative"),
        "held_out_reward": Column("float32", "of the policy's choices on held-out images, after this step"),
        "held_out_accuracy": Column("float32", "likewise", "share"),
        "held_out_violation_rate": Column("float32", "likewise", "share"),
    },
)


def _interval(name: str, meaning: str, values: str = "") -> dict[str, Column]:
    return {
        name: Column("float64", meaning, values),
        f"{name}_low": Column("float64", "lower end of its 95 % interval", values),
        f"{name}_high": Column("float64", "upper end of its 95 % interval", values),
    }


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
        "num_failed": Column("int32", "questions left out because their image is unreadable", "not negative"),
        **_interval("accuracy", "mean score", "share"),
        **_interval("latency_mean_ms", "mean latency", "positive"),
        **_interval("latency_p50_ms", "median latency", "positive"),
        **_interval("latency_p95_ms", "95th percentile of latency", "positive"),
        **_interval("latency_p99_ms", "99th percentile of latency", "positive"),
        **_interval("violation_rate", "share of requests above the budget (Clopper-Pearson interval)", "share"),
        **_interval("mean_overshoot_pct", "mean excess over the budget, in percent of it", "not negative"),
        "vision_ms": Column("float64", "mean", "not negative"),
        "prefill_ms": Column("float64", "mean", "not negative"),
        "controller_ms": Column("float64", "mean", "not negative"),
        "decode_ms": Column("float64", "mean", "not negative"),
        "controller_share_pct": Column("float64", "controller time in percent of latency", "not negative"),
        "flops": Column("float64", "mean per request", "positive"),
        "memory_bytes": Column("int64", "largest of the requests", "positive"),
        "knob_counts": Column("text", "JSON: configuration -> number of requests"),
        "clock": Column("text", "'measured' or 'modelled', the same in all rows"),
        "device": Column("text", "JSON: the device, of measured rows the same"),
    },
)

COMPARISONS = Table(
    "comparisons",
    "results/comparisons.parquet",
    "Paired differences between every two controllers, the oracle included, on the same questions: per dataset and of "
    "all questions together (dataset 'all'), per budget and as the mean over the feasible budgets (budget 'all').",
    ("dataset", "budget", "controller", "other"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "budget": Column("text", "budget as written in the configuration, or 'all'"),
        "controller": Column("text", "controller"),
        "other": Column("text", "the controller that it is compared with"),
        **_interval("accuracy_gain", "mean score less that of the other"),
        "accuracy_p": Column("float64", "two-sided p-value of the sign-flip test over images, uncorrected", "share"),
        **_interval("violation_change", "violation rate less that of the other"),
        **_interval("latency_change_ms", "mean latency less that of the other"),
    },
)

REGRET = Table(
    "regret",
    "results/regret.parquet",
    "Accuracy that is missing to the oracle; only when the configuration names the oracle.",
    ("dataset", "controller", "budget"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "controller": Column("text", "controller"),
        "budget": Column("text", "budget as written in the configuration, or 'all'"),
        **_interval("regret", "to the best configuration in hindsight: too high, because hindsight also finds luck"),
        **_interval("regret_confirmed", "to a choice that other configurations confirm: rather too low"),
    },
)

HYPERVOLUMES = Table(
    "hypervolumes",
    "results/hypervolumes.parquet",
    "Per dataset and controller the area below its accuracy over latency, up to the highest budget, in share of the "
    "whole: the accuracy at hand on average over all latency limits up to that budget.",
    ("dataset", "controller"),
    {
        "dataset": Column("text", "dataset"),
        "controller": Column("text", "controller"),
        "reference_latency_ms": Column("float64", "the highest budget; slower points cover nothing", "positive"),
        **_interval("hypervolume", "covered share of (reference latency x accuracy 1)", "share"),
        **_interval("gain", "the same less that of the baseline, on the same resamples"),
    },
)

MANIFEST = Document(
    "manifest",
    "results/model/manifest.json",
    "What the verified model is.",
    {
        "checksum": (str, "sha256 of the stacked weights and the configuration"),
        "num_parameters": (int, "parameters"),
        "num_blocks": (int, "transformer blocks"),
        "dtype": (str, "number format of the stored weights"),
    },
)
_SCORES = {
    "num_samples": (int, "questions"),
    "baseline_accuracy": (float, "accuracy with all blocks"),
    "scores": (dict, "block -> accuracy drop when that block is skipped"),
}
IMPORTANCE_OF_DATASET = Document(
    "importance_of_dataset",
    "results/importance/{dataset}.json",
    "What skipping one block costs on one dataset.",
    {
        **_SCORES,
        "half_scores": (list, "the same on the questions about every other image, twice"),
        "failed": (list, "unreadable samples: {sample_id, reason}"),
    },
)
IMPORTANCE = Document(
    "importance",
    "results/importance/scores.json",
    "The ranking of the blocks; every dataset counts alike.",
    {
        "model_checksum": (str, "checksum of the model that was scored"),
        "num_blocks": (int, "transformer blocks of the model"),
        **_SCORES,
        "selection": (str, "the rule that the removal order follows"),
        "removal_order": (list, "removable blocks, the least important first"),
        "removed_sets": (list | None, "with beam_search the sets of 1, 2, ... blocks that are removed instead"),
        "removal_orders": (dict, "rule -> its removal order"),
        "spearman_between_halves": (float | None, "rank correlation of the scores of two halves of the questions"),
        "agreement": (dict, "rule -> rank correlation between halves and between datasets (null: all scores equal)"),
        "datasets": (dict, "dataset -> its own scores, as in its file"),
    },
)
INTERNAL_SCORES = Document(
    "internal_scores",
    "results/importance/internal/{dataset}.json",
    "Scores of the blocks from inside the model, to compare accuracy drops with.",
    {
        "num_samples": (int, "questions"),
        "rules": (dict, "rule -> {scores, half_scores}, as those of the accuracy drop"),
        "failed": (list, "unreadable samples: {sample_id, reason}"),
    },
)
BEAM_SEARCH = Document(
    "beam_search",
    "results/importance/beam_search.json",
    "The best sets of blocks to remove together; every dataset counts alike.",
    {
        "model_checksum": (str, "checksum of the model that was searched"),
        "num_samples": (int, "questions"),
        "baseline_accuracy": (float, "accuracy with all blocks"),
        "width": (int, "sets of a size from which larger ones are made"),
        "sets_tried": (int, "sets answered"),
        "removed_sets": (list, "the best set of 1, 2, ... blocks"),
        "accuracies": (list, "accuracy without each of these sets"),
    },
)
SELECTION = Document(
    "selection",
    "results/importance/selection/{dataset}.json",
    "Accuracy against the number of blocks kept, for each rule, on questions of the profile split.",
    {
        "num_samples": (int, "questions"),
        "accuracy": (dict, "rule -> blocks kept -> {value, low, high}, 95 %"),
        "agreement": (dict, "rule -> rank correlation between halves and between datasets (null: all scores equal)"),
        "failed": (list, "unreadable samples: {sample_id, reason}"),
    },
)
REFERENCE = Document(
    "reference",
    "results/core_exp/{dataset}.reference.json",
    "What a budget in percent refers to.",
    {
        "config": (str, "the full configuration"),
        "median_latency_ms": (float, "its median latency"),
        "lowest_median_latency_ms": (float, "the lowest median latency of any configuration"),
        "device": (dict, "the device on which it was measured"),
        "clock": (str, "'measured' or 'modelled'"),
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
        "flops": (float, "mean per request"),
        "memory_bytes": (int, "largest of the requests"),
        "device": (dict, "the device"),
        "clock": (str, "'measured' or 'modelled'"),
    },
)

# In the order in which the workflow makes them.
FILES = (
    MANIFEST,
    SAMPLES,
    IMPORTANCE_OF_DATASET,
    INTERNAL_SCORES,
    BEAM_SEARCH,
    IMPORTANCE,
    SELECTION,
    CORE_EXP_ACCURACY,
    CORE_EXP_LATENCY,
    CORE_EXP,
    REFERENCE,
    TRAINING,
    CELL,
    EVALUATION,
    SUMMARY,
    COMPARISONS,
    HYPERVOLUMES,
    REGRET,
)


def write_table(frame: "DataFrame", path: str | Path, schema: Table, metadata: Mapping | None = None) -> None:
    """Writes `frame` as Parquet, sorted by the schema's key; `metadata` is JSON-able and travels in the file.

    Raises AdaMolmoError for missing, unknown, duplicate or out-of-range content.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_names(list(frame.columns), schema, path)
    try:
        table = pa.Table.from_pandas(frame[list(schema.columns)], _arrow_schema(schema), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise AdaMolmoError(f"{path}: cannot be written as {schema.name} table ({_one_line(error)}).") from error
    _check_values(table, schema, path)
    table = table.sort_by([(column, "ascending") for column in schema.key])
    _check_key(table, schema, path)
    note = {"schema": schema.name, "metadata": json.dumps(dict(metadata or {}), sort_keys=True, allow_nan=False)}
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(note), temporary, compression="zstd")


def read_table(
    path: str | Path, schema: Table, columns: Sequence[str] | None = None, filters: Any = None
) -> tuple["DataFrame", dict]:
    """The rows (of `columns` and pyarrow `filters` only, if given) and the metadata of a table that `write_table` made.

    Raises AdaMolmoError that names the file when it is absent, truncated, another table or holds impossible values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = list(columns or schema.columns)
    if not Path(path).is_file():
        raise AdaMolmoError(f"{path}: does not exist; expected the Parquet table {schema.name}.")
    try:
        found = pq.read_schema(path)
        _check_stored(found, schema, path)
        table = pq.read_table(path, columns=wanted, filters=filters)
    except (OSError, pa.ArrowException) as error:
        raise AdaMolmoError(
            f"{path}: cannot be read as the Parquet table {schema.name} ({_one_line(error)}); "
            "delete the file and run Snakemake again to remake it."
        ) from error
    _check_values(table, schema, path)
    frame = table.select(wanted).replace_schema_metadata(None).to_pandas()
    for name in wanted:
        if schema.columns[name].type == "texts":
            frame[name] = [list(texts) for texts in frame[name]]
    return frame, json.loads(found.metadata[b"metadata"])


def write_json(content: Mapping, path: str | Path, schema: Document) -> None:
    """Raises AdaMolmoError when keys are missing, unknown or of another type, or a number is not finite."""
    _check_document(content, schema, path)
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise AdaMolmoError(f"{path}: cannot be written as JSON ({error}).") from error
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def read_json(path: str | Path, schema: Document) -> dict:
    """Raises AdaMolmoError that names the file when it is absent, truncated or another document."""
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise AdaMolmoError(
            f"{path}: cannot be read as the JSON document {schema.name} ({error}); "
            "delete the file and run Snakemake again to remake it."
        ) from error
    _check_document(content, schema, path)
    return content


def file_checksum(*paths: str | Path) -> str:
    """sha256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _arrow_type(column: Column) -> "pa.DataType":
    import pyarrow as pa

    return pa.list_(pa.string()) if column.type == "texts" else pa.type_for_alias(_TYPES[column.type])


def _arrow_schema(schema: Table) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(column)) for name, column in schema.columns.items()])


def _check_names(names: list[str], schema: Table, path: str | Path) -> None:
    if missing := [name for name in schema.columns if name not in names]:
        raise AdaMolmoError(
            f"{path}: the {schema.name} table has no column {', '.join(missing)}; found {', '.join(names)}."
        )
    if extra := [name for name in names if name not in schema.columns]:
        raise AdaMolmoError(
            f"{path}: column {', '.join(extra)} is unknown; {schema.name} has {', '.join(schema.columns)}."
        )


def _check_stored(found: "pa.Schema", schema: Table, path: str | Path) -> None:
    name = (found.metadata or {}).get(b"schema", b"another program's table").decode()
    if name != schema.name:
        raise AdaMolmoError(f"{path}: holds {name}; expected the table {schema.name}.")
    _check_names(found.names, schema, path)
    for column in schema.columns:
        expected = _arrow_type(schema.columns[column])
        if found.field(column).type != expected:
            raise AdaMolmoError(f"{path}: column {column} is {found.field(column).type}; expected {expected}.")


def _check_values(table: "pa.Table", schema: Table, path: str | Path) -> None:
    import numpy as np
    import pyarrow.compute as pc

    for name in table.column_names:
        column = schema.columns[name]
        values = table[name]
        if values.null_count:
            raise AdaMolmoError(f"{path}: column {name} has {values.null_count} missing values; expected none.")
        if column.type == "texts" and len(values) and pc.min(pc.list_value_length(values)).as_py() == 0:
            raise AdaMolmoError(f"{path}: column {name} has an empty list; expected at least one entry in each.")
        if column.type.startswith(("float", "int")):
            numbers = values.to_numpy()
            bad = ~(np.isfinite(numbers) & _IN_RANGE[column.values](numbers))
            if bad.any():
                expected = _EXPECTED[column.values]
                raise AdaMolmoError(f"{path}: column {name} has the value {numbers[bad][0]}; expected {expected}.")


_IN_RANGE = {
    "": lambda numbers: True,
    "positive": lambda numbers: numbers > 0,
    "not negative": lambda numbers: numbers >= 0,
    "share": lambda numbers: (numbers >= 0) & (numbers <= 1),
}
_EXPECTED = {
    "": "a finite number",
    "positive": "a number above 0",
    "not negative": "a number from 0",
    "share": "a number from 0 to 1",
}


def _check_key(table: "pa.Table", schema: Table, path: str | Path) -> None:
    counts = table.group_by(list(schema.key)).aggregate([([], "count_all")])
    if counts.num_rows < table.num_rows:
        raise AdaMolmoError(f"{path}: two rows share the same {', '.join(schema.key)}; expected each once.")


def _check_document(content: Any, schema: Document, path: str | Path) -> None:
    if not isinstance(content, Mapping):
        raise AdaMolmoError(f"{path}: holds a {type(content).__name__}; expected the document {schema.name}.")
    for key, (kind, meaning) in schema.keys.items():
        if key not in content:
            raise AdaMolmoError(f"{path}: key '{key}' is missing; the document {schema.name} has it ({meaning}).")
        value = content[key]
        if not _is(value, kind):
            raise AdaMolmoError(f"{path}: key '{key}' is {value!r:.60}; expected {type_name(kind)} ({meaning}).")
    if extra := [key for key in content if key not in schema.keys]:
        raise AdaMolmoError(f"{path}: key '{extra[0]}' is unknown in the document {schema.name}.")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_is(value, alternative) for alternative in kind.__args__)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


_JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def type_name(kind: type | UnionType) -> str:
    """As JSON calls it."""
    if isinstance(kind, UnionType):
        return " or ".join(map(type_name, kind.__args__))
    return _JSON_NAMES.get(kind, "null")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
