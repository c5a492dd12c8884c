"""Numbers have the digits that their intervals support."""

import pytest

from adamolmo.report.numbers import estimate


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ((84.33, 80.8, 87.6), ("84.3", "[80.8, 87.6]")),
        ((84.33, 79.1, 89.3), ("84", "[79, 89]")),  # half of the interval is 5.1
        ((68.7, 58.5, 77.9), ("69", "[58, 78]")),  # 9.7 is as good as 10
        ((50.2, 21.3, 79.4), ("50", "[21, 79]")),
        ((100.0, 98.78, 100.0), ("100.0", "[98.8, 100.0]")),
        ((1.2345, 1.2311, 1.2402), ("1.234", "[1.231, 1.240]")),  # three decimals at most
        ((100.0, 100.0, 100.0), ("100", "")),
        ((200 / 3, 200 / 3, 200 / 3), ("66.7", "")),
        ((0.0, 0.0, 0.0), ("0", "")),
    ],
)
def test_digits_follow_from_the_width_of_the_interval(numbers, written):
    assert estimate(*numbers) == written


def test_differences_have_a_sign_unless_they_round_to_zero():
    assert estimate(1.22, -0.11, 2.6, signed=True) == ("+1.2", "[-0.1, +2.6]")
    assert estimate(-0.01, -3.0, 3.0, signed=True) == ("0.0", "[-3.0, +3.0]")
    assert estimate(0.0, 0.0, 0.0, signed=True) == ("0", "")
