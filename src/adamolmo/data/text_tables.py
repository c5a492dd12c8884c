"""Rows of CSV and JSON files, by the standard library: light enough to be read while Snakemake plans.

A cell of a CSV file is the text that it is: "007", "NA" and "1.0" stay. JSON's values are of the type that they have.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adamolmo.config.data import ColumnSettings
from adamolmo.data.conversion import not_utf8, shown
from adamolmo.data.rows import Row, check_columns
from adamolmo.errors import AdaMolmoError

_DELIMITERS = (",", "\t", ";")
_LONGEST_FIELD = 1 << 30  # characters: an image in base64


def text_rows(path: Path, source: str, columns: ColumnSettings, key: str) -> Iterator[Row]:
    """Of a file of the source csv or json, in its order. Raises AdaMolmoError: the file is none, or lacks a column,
    which `key` names."""
    return _csv_rows(path, columns, key) if source == "csv" else _json_rows(path)


def _csv_rows(path: Path, columns: ColumnSettings, key: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            delimiter = max(_DELIMITERS, key=file.readline().count)
            file.seek(0)
            lines = _lines(csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True), path)
            line, header = next(lines, (1, []))
            if not header:
                raise AdaMolmoError(f"{path}: is empty; expected a header and rows.")
            names = [name.strip() for name in header]
            if (fault := _fault(names)) is not None:
                raise AdaMolmoError(f"{path}: line {line} {fault}.")
            check_columns(names, columns, key, path.name)
            for number, (line, fields) in enumerate(lines):
                yield Row(number, f"line {line}", partial(_record, names, fields))
    except OSError as error:
        raise AdaMolmoError(f"{path}: cannot be read ({error.strerror}).") from error


def _lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line that it begins in, fields) of every row; a text in quotes may have several lines."""
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise AdaMolmoError(
                f"{path}: the row that begins in line {start} is no CSV ({error}); expected every quote closed, and a "
                "quote within quotes doubled."
            ) from error
        if fields is None:
            return
        if fields:
            yield start, fields


def _record(names: Sequence[str], fields: Sequence[str]) -> Mapping[str, str]:
    if len(fields) != len(names):
        raise ValueError(
            f"{len(fields)} fields; expected {len(names)} as in the header (a text with the separator stands in quotes)"
        )
    if (fault := _fault(fields)) is not None:
        raise ValueError(fault)
    return dict(zip(names, fields, strict=True))


def _fault(texts: Sequence[str]) -> str | None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            try:
                text.encode(errors="surrogateescape").decode()
            except UnicodeDecodeError as error:
                return f"{not_utf8(error)}; expected the encoding UTF-8"
    return None


def _json_rows(path: Path) -> Iterator[Row]:
    """A record, or a list of values, from each line or each entry of one list; one record alone is one row. A list's
    columns are "0", "1", ..."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AdaMolmoError(f"{path}: line {line} {not_utf8(error)}; expected the encoding UTF-8.") from error
    except OSError as error:
        raise AdaMolmoError(f"{path}: cannot be read ({error.strerror}).") from error
    for number, (place, value) in enumerate(_values(text, path)):
        yield Row(number, place, partial(_cells, value))


def _values(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """(place, value) of each row."""
    try:
        whole = _parsed(text)
    except ValueError as error:
        fault = error
    else:
        entries = whole if isinstance(whole, list) else [whole]
        yield from ((f"entry {number}", value) for number, value in enumerate(entries))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = _parsed(line)
        except ValueError as error:
            if number == 1:  # it is not one record a line
                raise AdaMolmoError(
                    f"{path}: is no JSON ({_reason(fault)}); expected one list of records, or a record a line."
                ) from fault
            raise AdaMolmoError(f"{path}: line {number} is no JSON ({_reason(error)}); expected one record.") from error
        yield f"line {number}", value


def _parsed(text: str) -> Any:
    """Raises ValueError for no JSON, also of the kinds for which the library has other exceptions."""
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"a record has the field {shown(double)} twice")
    return record


def _reason(error: ValueError) -> str:
    return str(error)[:120]


def _cells(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list):
        return {str(index): entry for index, entry in enumerate(value)}
    raise ValueError(f"is {shown(value)}; expected a record, or a list of values")
