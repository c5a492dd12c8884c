"""What a file between two rules is declared as, a table or a document, and its writing and reading with all checks.

Equal content gives equal bytes. The study's own files are declared beside this file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing

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


# In the order in which the workflow makes them.


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


def read_table(path: str | Path, schema: Table, columns: Sequence[str] | None = None) -> tuple["DataFrame", dict]:
    """The rows (of `columns` only, if given) and the metadata of a table that `write_table` made.

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
        table = pq.read_table(path, columns=wanted)
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
    if not Path(path).is_file():
        raise AdaMolmoError(f"{path}: does not exist; expected the JSON document {schema.name}.")
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise AdaMolmoError(
            f"{path}: cannot be read as the JSON document {schema.name} ({error}); "
            "delete the file and run Snakemake again to remake it."
        ) from error
    _check_document(content, schema, path)
    return content


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
