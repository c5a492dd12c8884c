"""Values that several sections of the configuration hold, each checked in one sentence."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _budget(text: Any) -> str:
    try:
        return str(Budget.parse(text))
    except AdaMolmoError as error:
        raise ValueError(str(error)) from error


def _plain_budget(text: Any) -> str:
    if Budget.parse(_budget(text)).promise is not None:
        raise ValueError(f"'{text}' promises something of many requests; expected a budget of one: '60pct' or '170ms'")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(f"'{text}' is not a name; expected lower-case letters, digits and underscores")
    return text


def _controller_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*", text) or text.startswith("static-") or text == "oracle":
        raise ValueError(
            f"'{text}' is not a name for a controller of one's own; expected lower-case letters, digits, underscores "
            "and single hyphens, neither 'oracle' nor 'static-...'"
        )
    return text


def _ascending(values: list[int]) -> list[int]:
    if not values or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"{values} is not a list of different numbers in ascending order")
    return values


def _distinct(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("the list is empty; expected at least one entry")
    if len(set(values)) < len(values):
        raise ValueError(f"the list names '{next(v for v in values if values.count(v) > 1)}' twice")
    return values


def _count_or_all(value: Any) -> Any:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"'{value}' is neither a whole number from 1 nor 'all'")
    return value


Name = Annotated[str, AfterValidator(_name)]
ControllerName = Annotated[str, AfterValidator(_controller_name)]
Names = Annotated[list[str], AfterValidator(_distinct)]
BudgetText = Annotated[str, BeforeValidator(_budget)]
PlainBudgetText = Annotated[str, BeforeValidator(_plain_budget)]
Budgets = Annotated[list[BudgetText], AfterValidator(_distinct)]
Count = Annotated[int, Field(ge=1)]
CountOrAll = Annotated[Count | Literal["all"], BeforeValidator(_count_or_all)]
Ascending = Annotated[list[Count], AfterValidator(_ascending)]
