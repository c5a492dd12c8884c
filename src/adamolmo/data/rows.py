"""From a table's row to samples, whatever the table was read from."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from string import ascii_uppercase
from typing import Any

from adamolmo.config.data import ColumnSettings
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


def samples_of_row(row: Mapping[str, Any], columns: ColumnSettings, row_id: str) -> Iterator[dict]:
    """One sample, or one for each entry of the list that the question is a field of (`qas.question`).

    Args:
        row: by column its value: text, bytes, a number, None, a list or a mapping.
        row_id: tells the row from all others of the dataset.

    Raises ValueError that says what the row lacks: a sentence without its end.
    """
    image = _cell(row, columns.image, to_image)
    default_image_id = hashlib.sha256(image).hexdigest()[:16]
    for suffix, fields in _questions(row, columns.question):
        yield {
            "sample_id": _cell(fields, columns.question_id, to_id) if columns.question_id else f"{row_id}{suffix}",
            "image_id": _cell(fields, columns.image_id, to_id) if columns.image_id else default_image_id,
            "image": image,
            **_question_and_answers(fields, columns),
        }


def _questions(row: Mapping, column: str) -> Iterator[tuple[str, Mapping]]:
    """The row, or once for each question in it with that entry in the place of their list, and a suffix for its id."""
    parent = "" if column in row else column.rpartition(".")[0]
    entries = _lookup(row, parent) if parent else None
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
    options = _cell(fields, columns.options, to_options)
    right = _cell(fields, columns.answers, lambda value: to_right_options(value, options))
    return {
        "question": with_options(asked, options),
        "answers": [text for index in right for text in (_letter(index, options), options[index])],
    }


def _question(value: Any) -> str:
    if is_missing_or_blank(value) or not (text := to_text(value)).strip():
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
    try:
        return convert(_lookup(fields, column))
    except ValueError as error:
        raise ValueError(f"column '{column}' {error}") from error


def _lookup(fields: Any, path: str) -> Any:
    """A column's value, or that of a field in it (`a.b`); through a list, the list of the entries' values."""
    if isinstance(fields, list):
        return [_lookup(entry, path) for entry in fields]
    if not isinstance(fields, Mapping):
        raise ValueError(f"has {shown(fields)} where a record with the field '{path}' is expected")
    if path in fields:
        return fields[path]
    head, _, rest = path.partition(".")
    if head not in fields:
        raise ValueError(f"has no field '{head}' but {', '.join(map(str, fields))}")
    return _lookup(fields[head], rest) if rest else fields[head]
