"""The first fault that pydantic finds in a configuration, as one sentence."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def sentence(error: ValidationError, model: type[BaseModel], sources: Mapping[str, Mapping]) -> str:
    """The first fault of `error`, and how many more there are."""
    fault = error.errors()[0]
    location = tuple(part for part in fault["loc"] if part != "[key]")  # pydantic's mark of a mapping's bad key
    key = _dotted(location)
    source = source_of(location, sources)
    message = re.sub(r"^(Value error, |Input should be )", "", fault["msg"]).rstrip(".")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    if fault["type"] == "extra_forbidden":
        known = list(_model_at(model, location[:-1]).model_fields)
        close = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(known)}."
        text = f"{source}: key '{key}' is unknown; {hint}"
    elif fault["type"] == "missing":
        description = _model_at(model, location[:-1]).model_fields[location[-1]].description
        text = f"{source}: key '{key}' is missing; expected {description}."
    elif fault["type"] == "value_error":
        text = f"{source}: {f'key {key!r}: ' if key else ''}{message}{'' if message.endswith('?') else '.'}"
    else:
        text = f"{source}: key '{key}' is {_shown(fault['input'])}; expected {message}."
    more = error.error_count() - 1
    return text if not more else f"{text} ({more} more fault{'s' if more > 1 else ''} in the configuration.)"


def _dotted(location: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def source_of(location: Sequence[int | str], sources: Mapping[str, Mapping]) -> str:
    """What holds the key or most of its parents; of several the last, which overrides the others."""

    def depth(source: str) -> int:
        content: Any = sources[source]
        for found, part in enumerate(location):
            if not isinstance(content, Mapping) or part not in content:
                return found
            content = content[part]
        return len(location)

    return max(reversed(sources), key=depth, default="configuration")


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The section of `model` that `location` leads to."""
    annotation: Any = model
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[part].annotation
        else:
            annotation = get_args(annotation)[1]
    return annotation
