"""Values that several sections of the configuration hold, each checked in one sentence."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError, printable, quoted
from adamolmo.names import ORACLE, RESERVED, STATIC_PREFIX

_LONGEST_NAME = 64  # of a file's name they are a part
_LONGEST_TEXT = 4096
_LONGEST_TITLE = 80  # beside a figure's panel
_MOST = 1000  # entries of a list
_HIGHEST = 10_000_000  # number of anything


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _budget(text: Any) -> str:
    try:
        return str(Budget.parse(text))
    except AdaMolmoError as error:
        raise ValueError(str(error)) from error


def _plain_budget(text: Any) -> str:
    if Budget.parse(_budget(text)).promise is not None:
        raise ValueError(f"'{text}' promises something of many requests; expected a budget of one: '60pct' or '170ms'")
    return text


def _text(text: str) -> str:
    if not text or len(text) > _LONGEST_TEXT or printable(text) != text:
        raise ValueError(f"{quoted(text)} is not a text of 1 to {_LONGEST_TEXT} printable characters")
    return text


def _title(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_TITLE or printable(text) != text:
        raise ValueError(f"{quoted(text)} is not a title of 1 to {_LONGEST_TITLE} printable characters")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or len(text) > _LONGEST_NAME:
        raise ValueError(f"{quoted(text)} is not a name; expected lower-case letters, digits and underscores")
    return text


def _own_name(text: str) -> str:
    if text in RESERVED:
        raise ValueError(f"'{text}' is the study's own name for {RESERVED[text]}; expected another")
    return _name(text)


def _controller_name(text: str) -> str:
    form = re.fullmatch(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*", text)
    if not form or len(text) > _LONGEST_NAME or text.startswith(STATIC_PREFIX) or text == ORACLE:
        raise ValueError(
            f"{quoted(text)} is not a name for a controller of one's own; expected lower-case letters, digits, "
            f"underscores and single hyphens, neither '{ORACLE}' nor '{STATIC_PREFIX}...'"
        )
    return text


def _task_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text) or len(text) > _LONGEST_NAME:
        raise ValueError(f"{quoted(text)} is not the name of a task; expected letters, digits, '_' and '-'")
    return text


def _ascending(values: list[int]) -> list[int]:
    if not values or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"{quoted(values)[1:-1]} is not a list of different numbers in ascending order")
    return values


def _distinct(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("the list is empty; expected at least one entry")
    if len(set(values)) < len(values):
        raise ValueError(f"the list names {quoted(next(v for v in values if values.count(v) > 1))} twice")
    return values


def _count_or_all(value: Any) -> Any:
    if value != "all" and (type(value) is not int or not 1 <= value <= _HIGHEST):
        raise ValueError(f"{quoted(value)} is neither a whole number from 1 to {_HIGHEST} nor 'all'")
    return value


Text = Annotated[str, AfterValidator(_text)]
Title = Annotated[str, AfterValidator(_title)]
Name = Annotated[str, AfterValidator(_name)]
OwnName = Annotated[str, AfterValidator(_own_name)]
ControllerName = Annotated[str, AfterValidator(_controller_name)]
TaskName = Annotated[str, AfterValidator(_task_name)]
Names = Annotated[list[Text], Field(max_length=_MOST), AfterValidator(_distinct)]
BudgetText = Annotated[str, BeforeValidator(_budget)]
PlainBudgetText = Annotated[str, BeforeValidator(_plain_budget)]
Budgets = Annotated[list[BudgetText], Field(max_length=_MOST), AfterValidator(_distinct)]
Count = Annotated[int, Field(ge=1, le=_HIGHEST)]
Few = Annotated[int, Field(ge=1, le=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1_000_000)]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
CountOrAll = Annotated[Count | Literal["all"], BeforeValidator(_count_or_all)]
Ascending = Annotated[list[Few], Field(max_length=_MOST), AfterValidator(_ascending)]
