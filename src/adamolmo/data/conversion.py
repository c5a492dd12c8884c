"""What a cell of a table may hold, by the role of its column: text, answers, options, image, id.

Every reader's rows pass here. What has one meaning is converted (bytes are UTF-8, 3.0 is "3"); anything else is a
ValueError that goes on from "column 'x' ": what was found and what was expected. docs/data.md lists both.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from string import ascii_uppercase
from typing import Any

from adamolmo.data.visible import as_seen, is_blank

# Escape sequences of terminals: with parameters, with a text of their own, and short ones.
_ESCAPE_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_OR_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A list, tuple or record that a program has written as text.
_WRITTEN_CONTAINER = re.compile(r"\[.*\]|\{.*\}|\(\s*['\"].*\)", re.DOTALL)
_MOST_DIGITS = 15  # of a float that means the decimal number that it is written as
MOST_OPTIONS = len(ascii_uppercase)


def to_text(value: Any) -> str:
    """Text without escape sequences and control characters; line breaks and tabs stay. It may be blank."""
    text = _decoded(value)
    if text is None:
        raise ValueError(f"holds {shown(value)}; expected a text")
    return text


def to_answers(value: Any) -> list[str]:
    """Texts, from a text, a number or a list of them; what is null, NaN or blank in the list is left out."""
    if isinstance(value, str | bytes) and (listed := _listed(value, "an answer, or a list of answers")) is not None:
        value = listed
    entries = value if isinstance(value, list) else [value]
    answers = [answer for entry in entries if not _is_missing(entry) and not is_blank(answer := _answer(entry))]
    if not answers:
        raise ValueError("is empty; expected answers, which a test split may not have")
    return answers


def _answer(entry: Any) -> str:
    text = _number(entry) or _decoded(entry)
    if text is None:
        hint = ""
        if isinstance(entry, Mapping):
            hint = "; a field of it is named with a dot, as in 'answers.answer'"
        raise ValueError(f"holds {shown(entry)}; expected answers as texts or plain numbers{hint}")
    return text


def to_options(value: Any) -> list[str]:
    """Texts, from a list of texts and numbers; none is null or blank."""
    if isinstance(value, str | bytes):
        listed = _listed(value, "a list of options")
        if listed is None:
            raise ValueError(f"holds {shown(value)}; expected a list of options")
        value = listed
    if not isinstance(value, list) or not value:
        raise ValueError(f"holds {shown(value)}; expected a list of options")
    if len(value) > MOST_OPTIONS:
        raise ValueError(f"has {len(value)} options; expected at most {MOST_OPTIONS}")
    options = []
    for number, entry in enumerate(value):
        text = None if _is_missing(entry) else _number(entry) or _decoded(entry)
        if text is None or is_blank(text):
            raise ValueError(f"has {shown(entry)} as option {number}; expected texts")
        options.append(text)
    return options


def to_right_options(value: Any, options: Sequence[str]) -> list[int]:
    """Which options are right, from 0: by number, letter or text, one or a list of them."""
    entries = value if isinstance(value, list) else [value]
    entries = [entry for entry in entries if not _is_missing(entry)]
    if not entries:
        raise ValueError("is empty; expected answers, which a test split may not have")
    return [_right_option(entry, options) for entry in entries]


def _right_option(value: Any, options: Sequence[str]) -> int:
    number = None if isinstance(value, str | bytes) else _number(value)
    if number is not None:
        found = {int(number)} if number.isdecimal() and int(number) < len(options) else set()
    else:
        text = _decoded(value)
        seen = None if text is None else as_seen(text)
        found = {index for index, option in enumerate(options) if as_seen(option) == seen}
        found |= {index for index, letter in enumerate(ascii_uppercase[: len(options)]) if letter == text}
    if len(found) != 1:
        raise ValueError(
            f"holds {shown(value)}; expected the number of one of {len(options)} options, counted from 0, or its "
            "letter or text, if that means one alone"
        )
    return found.pop()


def to_image(value: Any) -> bytes:
    """The bytes of an image file, plain, in the Hub's image type {bytes, path}, or the only entry of a list."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    image = value["bytes"] if isinstance(value, Mapping) and "bytes" in value else value
    if not isinstance(image, bytes):
        raise ValueError(f"holds {shown(image)}; expected the bytes of one image file")
    return image


def to_id(value: Any) -> str:
    """A text of one line, from a text or a whole number."""
    text = None if _is_missing(value) else _number(value) or _decoded(value, _CONTROL_OR_BREAK, clean=False)
    if text is None or is_blank(text):
        raise ValueError(f"holds {shown(value)}; expected an id: a whole number, or a text without control characters")
    return text


def is_missing_or_blank(value: Any) -> bool:
    return (
        _is_missing(value)
        or (isinstance(value, bytes) and not value.strip())
        or (isinstance(value, str) and is_blank(value))
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | Decimal) and value != value)


def _decoded(value: Any, control: re.Pattern = _CONTROL, clean: bool = True) -> str | None:
    """A text or UTF-8, cleaned; None for anything else, and for control characters that are not to be cleaned."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{not_utf8(error)}; expected UTF-8") from error
    if not isinstance(value, str):
        return None
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"holds {shown(value)}, half of a character; expected Unicode text")
    if not clean:
        return None if control.search(value) else value
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return control.sub("", _ESCAPE_SEQUENCE.sub("", lines))


def not_utf8(error: UnicodeDecodeError) -> str:
    return f"holds bytes that are no UTF-8 text (0x{error.object[error.start]:02x} at {error.start})"


def _number(value: Any) -> str | None:
    """A number as it is written: 3, 3.0 as "3", 0.25; None for anything else. Raises ValueError if it has no such
    form."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int):
        if abs(value) >= 10**30:
            raise ValueError("holds a number of more than 30 digits; expected a text for it")
        return str(value)
    if math.isfinite(value):
        if value == int(value) and abs(value) < 10**_MOST_DIGITS:
            return str(int(value))
        text = str(value)
        if "e" not in text.lower() and sum(character.isdigit() for character in text.lstrip("-0.")) <= _MOST_DIGITS:
            return text
    raise ValueError(
        f"holds {shown(value)}, a number that has no plain form of up to {_MOST_DIGITS} digits; expected a text for it"
    )


def _listed(value: str | bytes, expected: str) -> list | None:
    """The list that a text is in JSON, if all its entries are texts; None for a text that looks like no list."""
    text = _decoded(value).strip()
    if not _WRITTEN_CONTAINER.fullmatch(text):
        return None
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        entries = None
    if isinstance(entries, list) and entries and all(isinstance(entry, str) for entry in entries):
        return entries
    raise ValueError(
        f"holds {shown(value)}, a list or record written as text; expected {expected} (or a JSON list of texts)"
    )


def shown(value: Any) -> str:
    """A short description of a value for an error."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return f"a record with the fields {', '.join(map(str, value))}"[:120]
    if isinstance(value, list):
        return f"a list of {len(value)} ({shown(value[0])}, ...)"[:120] if value else "an empty list"
    kind = {str: "text", bytes: "bytes", int: "number", float: "number", Decimal: "number"}.get(type(value))
    text = repr(value[:40]) if isinstance(value, str | bytes) else str(value)[:40]
    return f"{kind or type(value).__name__} {text}"
