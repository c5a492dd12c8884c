"""The first fault that pydantic finds in what was read, as one sentence: where, what was found, what was expected."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adamolmo.errors import quoted

Location = tuple[int | str, ...]


def sentence(error: ValidationError, model: type[BaseModel], source: Callable[[Location], str]) -> str:
    """The first fault of `error`, and how many more there are.

    Args:
        model: what the content was to be.
        source: what holds the key at a location, such as a file.
    """
    fault = error.errors()[0]
    location, section = _walk(model, [part for part in fault["loc"] if part != "[key]"])  # a mapping's bad key
    key = _dotted(location)
    known = _descriptions(section)
    message = re.sub(r"^(Value error, |Input should be |\w+ should have )", "", fault["msg"]).rstrip(".")
    message = re.sub(r"^(at (?:least|most) \d+ items?) after validation, not \d+$", r"\1", message)
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        close = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(known)}."
        text = f"key '{key}' is unknown; {hint}"
    elif fault["type"] == "missing":
        text = f"key '{key}' is missing; expected {known.get(location[-1], 'a value')}."
    elif fault["type"] == "value_error":
        where = f"key '{key}': " if key else ""
        text = f"{where}{message}{'' if message.endswith('?') else '.'}"
    else:
        text = f"key '{key}' is {_shown(fault['input'])}; expected {message}."
    more = error.error_count() - 1
    return f"{source(location)}: {text}" + (f" ({more} more fault{'s' if more > 1 else ''}.)" if more else "")


def _dotted(location: Sequence[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{quoted(part)[1:-1]}" for part in location)
    return "".join(parts).removeprefix(".")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # what JSON has no form for, or a number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _walk(annotation: Any, parts: Sequence[int | str]) -> tuple[Location, Any]:
    """The keys of a location, and the type of what the last of them is in."""
    location, section = [], annotation
    for part in parts:
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if get_origin(annotation) in (Union, UnionType):
            annotation = kinds[0]
            if len(kinds) > 1:  # the part tells which of them pydantic has tried
                continue
        location.append(part)
        section = annotation
        if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
            annotation = _types(annotation).get(part)
        else:
            annotation = (get_args(annotation) or (None,))[-1 if get_origin(annotation) is dict else 0]
    return tuple(location), section


def _types(section: type) -> dict[str, Any]:
    if issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return {field.name: field.type for field in fields(section)}


def _descriptions(section: Any) -> dict[str, str]:
    """The keys of a model or dataclass with what they mean."""
    if not isinstance(section, type):
        return {}
    if issubclass(section, BaseModel):
        return {name: field.description or name for name, field in section.model_fields.items()}
    names = [field.name for field in fields(section)] if is_dataclass(section) else []
    return dict.fromkeys(names, ", ".join(names))
