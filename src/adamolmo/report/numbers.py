"""How an estimate is written: with as many digits as its interval supports."""

import math

_EXACT = 3  # significant digits of a value whose interval has no width
_MOST_DECIMALS = 3


def estimate(value: float, low: float, high: float, signed: bool = False) -> tuple[str, str]:
    """The value and its interval, "[low, high]", rounded as half of the interval is by the Particle Data Group's rule:
    to two significant digits if they are at most 35, else to one.

    Where all resamples were equal the interval has no width. It is left out: it would claim certainty.
    """
    if not high > low:
        text = _number(value, _decimals(value, _EXACT), signed)
        return (text.rstrip("0").rstrip(".") if "." in text else text), ""
    half = (high - low) / 2
    leading = half / 10 ** math.floor(math.log10(half))
    decimals = _decimals(half, 2 if leading < 3.55 else 1)
    value_text, low_text, high_text = (_number(number, decimals, signed) for number in (value, low, high))
    return value_text, f"[{low_text}, {high_text}]"


def _decimals(number: float, significant: int) -> int:
    """So many that `number` has that many significant digits."""
    exponent = math.floor(math.log10(abs(number))) if number else 0
    return min(max(significant - 1 - exponent, 0), _MOST_DECIMALS)


def _number(value: float, decimals: int, signed: bool) -> str:
    """A rounded zero has no sign."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{decimals}f}"
