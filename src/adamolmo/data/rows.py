"""From a table's row to samples, whatever the table was read from."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from adamolmo.config.data import IN_PATH, ColumnSettings
from adamolmo.data.conversion import (
    is_missing_or_blank,
    shown,
    to_answers,
    to_id,
    to_image,
    to_options,
    to_right_options,
    to_text,
)
from adamolmo.data.options import with_options
from adamolmo.data.visible import is_blank
from adamolmo.errors import AdaMolmoError


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: in its file, from 0.
        place: where a person finds it: "line 4".
        cells: gives by column its value: text, bytes, a number, None, a list or a mapping. Raises ValueError for a row
            that has none: a sentence without its beginning and end.
    """

    number: int
    place: str
    cells: Callable[[], Mapping[str, Any]]


def check_columns(found: Sequence[str], columns: ColumnSettings, key: str, file: str) -> list[str]:
    """The file's columns that the configured ones are in. Raises AdaMolmoError that names a missing one by its key."""
    wanted = {}
    for role, name in columns.named():
        column = name if name in found else name.split(".")[0]
        if found.count(column) != 1:
            times = f"has {found.count(column)} columns" if column in found else "has no column"
            raise AdaMolmoError(f"{key}.{role}: {file} {times} '{name}'; found {_named(found)}.")
        wanted[column] = None
    return list(wanted)


def samples_of_row(
    row: Mapping[str, Any], columns: ColumnSettings, row_id: str, load_image: Callable[[Any], bytes] = to_image
) -> Iterator[dict]:
    """One sample, or one for each entry of the list that the question is a field of (`qas.question`).

    Args:
        row: `Row.cells`.
        row_id: tells the row from all others of the dataset.
        load_image: the image file that a cell holds or names.

    Raises ValueError that says what the row lacks: a sentence without its beginning and end.
    """
    for suffix, fields in questions_of_row(row, columns.question):
        image = _cell_of(fields, columns.image, image_cell, load_image)
        default_image_id = hashlib.sha256(image).hexdigest()[:16]
        yield {
            "sample_id": _cell(fields, columns.question_id, to_id) if columns.question_id else f"{row_id}{suffix}",
            "image_id": _cell(fields, columns.image_id, to_id) if columns.image_id else default_image_id,
            "image": image,
            **_question_and_answers(fields, columns),
        }


def image_cell(fields: Mapping, column: str) -> Any:
    """What the image's column holds, or the path that is made of columns. Raises ValueError."""
    if not IN_PATH.search(column) or column in fields:
        return lookup(fields, column)
    return IN_PATH.sub(lambda found: _cell(fields, found[1], to_id).zfill(int(found[2] or 0)), column)


def questions_of_row(row: Mapping, column: str) -> Iterator[tuple[str, Mapping]]:
    """The row, or once for each question in it with that entry in the place of their list, and a suffix for its id."""
    parent = "" if column in row else column.rpartition(".")[0]
    entries = lookup(row, parent) if parent else None
    if not isinstance(entries, list):
        yield "", row
        return
    for number, entry in enumerate(entries):
        yield f"-{number}", _with_entry(row, parent, entry)


def _with_entry(fields: Any, path: str, entry: Any) -> Mapping:
    if path in fields:
        return {**fields, path: entry}
    head, _, rest = path.partition(".")
    if not isinstance(fields[head], Mapping):
        raise ValueError(f"column '{head}' holds {shown(fields[head])}; expected one list of questions in a row")
    return {**fields, head: _with_entry(fields[head], rest, entry)}


def _question_and_answers(fields: Mapping, columns: ColumnSettings) -> dict:
    question = _cell(fields, columns.question, _question)
    context = _cell(fields, columns.context, _context) if columns.context else ""
    asked = f"{context}\n{question}" if context else question
    if not columns.options:
        return {"question": asked, "answers": _cell(fields, columns.answers, to_answers)}
    options = _options(fields, columns.options)
    right = _cell(fields, columns.answers, lambda value: to_right_options(value, options))
    return {
        "question": with_options(asked, options),
        "answers": [text for index in right for text in (_letter(index, options), options[index])],
    }


def _options(fields: Mapping, columns: str | list[str]) -> list[str]:
    """Of one column, or one of each, where those that a question has too few options for are null or blank."""
    if isinstance(columns, str):
        return _cell(fields, columns, to_options)
    cells = [lookup(fields, column) for column in columns]
    while cells and is_missing_or_blank(cells[-1]):
        cells.pop()
    try:
        return to_options(cells)
    except ValueError as error:
        raise ValueError(f"columns {', '.join(columns)}: the row {error}") from error


def _question(value: Any) -> str:
    if is_missing_or_blank(value) or is_blank(text := to_text(value)):
        raise ValueError("is empty; expected a question")
    return text


def _context(value: Any) -> str:
    return "" if is_missing_or_blank(value) else to_text(value)


def _letter(index: int, options: list[str]) -> str:
    """The option's letter, in parentheses where another option reads like it: alone it then means that one."""
    letter = ascii_uppercase[index]
    others = options[:index] + options[index + 1 :]
    return f"({letter})" if letter in [other.strip().upper() for other in others] else letter


def _cell(fields: Mapping, column: str, convert: Callable[[Any], Any]) -> Any:
    return _cell_of(fields, column, lookup, convert)


def _cell_of(fields: Mapping, column: str, find: Callable[[Mapping, str], Any], convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(find(fields, column))
    except ValueError as error:
        raise ValueError(f"column '{column}' {error}") from error


def lookup(fields: Any, path: str) -> Any:
    """A column's value, or that of a field in it (`a.b`); through a list, the list of the entries' values."""
    if isinstance(fields, list):
        return [lookup(entry, path) for entry in fields]
    if not isinstance(fields, Mapping):
        raise ValueError(f"has {shown(fields)} where a record with the field '{path}' is expected")
    if path in fields:
        return fields[path]
    head, _, rest = path.partition(".")
    if head not in fields:
        raise ValueError(f"names '{head}', which is none of {_named(fields)}")
    return lookup(fields[head], rest) if rest else fields[head]


def _named(columns: Iterable[Any]) -> str:
    """Short, also where the first row of a table is taken for its header."""
    return ", ".join(f"{column!s:.40}" for column in columns)[:400]
