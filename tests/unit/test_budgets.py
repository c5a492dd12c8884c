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


@pytest.mark.parametrize(
    ("text", "promise", "long", "short"),
    [
        ("60pct", None, "60 %", "60 %"),
        ("0.5ms", None, "0.5 ms", "0.5 ms"),
        ("60pct-p95", "p95", "60 %, 95 in 100 on time", "60 % p95"),
        ("170ms-p99", "p99", "170 ms, 99 in 100 on time", "170 ms p99"),
        ("62.5pct-mean", "mean", "62.5 % on average", "62.5 % mean"),
    ],
)
def test_promises_are_part_of_the_budget_and_of_its_name(text, promise, long, short):
    budget = Budget.parse(text)
    assert (str(budget), budget.promise, budget.label(), budget.label(short=True)) == (text, promise, long, short)


@pytest.mark.parametrize(
    "text", ["60pct-p50", "60pct-", "60pct-p95-mean", "60pct-P95", "60pct p95", "60-p95", "60pct-95"]
)
def test_other_promises_are_refused(text):
    with pytest.raises(AdaMolmoError, match=r"with a promise behind it: '60pct-p95' \(or p90, p99\) or '60pct-mean'"):
        Budget.parse(text)
