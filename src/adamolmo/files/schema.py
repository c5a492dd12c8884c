"""What a file between two rules is declared as, unless it is JSON (`documents.py`); writing and reading of tables.

Equal content gives equal bytes. The study's own files are declared beside this file. In their paths `{...}` stands for
a name and `[...]` for a part that may be absent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adamolmo.errors import AdaMolmoError, no_file
from adamolmo.files.sealed_parquet import is_intact, seal
from adamolmo.files.writing import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from pandas import DataFrame
    from pydantic import BaseModel

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
    """One column. `values` limits numbers: "positive", "not negative" or "share" (0 to 1).

    No value is missing or NaN, unless the column is `optional`: then NaN and None are written as missing values, and
    read as NaN.
    """

    type: str
    meaning: str
    values: str = ""
    optional: bool = False


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
class Tensors:
    """A safetensors file: what each tensor is, with its dtype and shape.

    Attributes:
        info: what its metadata holds as JSON, if it has some: a model of `files.documents`.
    """

    path: str
    meaning: str
    tensors: Mapping[str, str]
    info: "type[BaseModel] | None" = None


@dataclass(frozen=True)
class Plain:
    """A file in a format that is not the study's own."""

    path: str
    meaning: str


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
        pq.write_table(table.replace_schema_metadata(note), temporary, compression="zstd", write_page_checksum=True)
        seal(temporary)


def read_table(path: str | Path, schema: Table, columns: Sequence[str] | None = None) -> tuple["DataFrame", dict]:
    """The rows (of `columns` only, if given) and the metadata of a table that `write_table` made.

    Raises AdaMolmoError that names the file when it is absent, truncated, another table or holds impossible values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = list(columns or schema.columns)
    if fault := no_file(path):
        raise AdaMolmoError(f"{path}: {fault}; expected the Parquet table {schema.name}.")
    try:
        if not is_intact(path):
            raise OSError("it is damaged, or another program's: its bytes are not what its checksum says")
        found = pq.read_schema(path)
        _check_stored(found, schema, path)
        table = pq.read_table(path, columns=wanted, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise AdaMolmoError(
            f"{path}: cannot be read as the Parquet table {schema.name} ({_one_line(error)}); "
            "if the study made it, delete the file and run Snakemake again to remake it."
        ) from error
    _check_values(table, schema, path)
    frame = table.select(wanted).replace_schema_metadata(None).to_pandas()
    for name in wanted:
        if schema.columns[name].type == "texts":
            frame[name] = [list(texts) for texts in frame[name]]
    return frame, json.loads(found.metadata[b"metadata"])


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
        if values.null_count and not column.optional:
            raise AdaMolmoError(f"{path}: column {name} has {values.null_count} missing values; expected none.")
        if column.type == "texts" and len(values) and pc.min(pc.list_value_length(values)).as_py() == 0:
            raise AdaMolmoError(f"{path}: column {name} has an empty list; expected at least one entry in each.")
        if column.type.startswith(("float", "int")):
            numbers = values.drop_null().to_numpy()
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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
