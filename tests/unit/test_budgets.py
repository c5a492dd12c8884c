"""Budgets: one spelling per value."""

import pytest

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError


@pytest.mark.parametrize("text", ["60pct", "170ms", "0.5ms", "62.5pct", "1000ms"])
def test_parse_and_write(text):
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["50.0pct", "050pct", "50.", ".5ms", "60", "60s", "60 pct", "-5ms", "0ms", "0.0pct", "1e2ms", "", None, 60]
)
def test_other_spellings_are_refused(text):
    with pytest.raises(AdaMolmoError, match=r"is not a budget; expected a positive number with its unit"):
        Budget.parse(text)


def test_milliseconds():
    assert Budget.parse("60pct").to_ms(35.0) == pytest.approx(21.0)
    assert Budget.parse("170ms").to_ms(35.0) == 170.0
