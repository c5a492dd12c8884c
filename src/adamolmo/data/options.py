"""How the options of a multiple-choice question are written below it."""

from collections.abc import Sequence
from string import ascii_uppercase

from adamolmo.errors import AdaMolmoError


def with_options(question: str, options: Sequence[str]) -> str:
    """The options listed below the question as "A: ...", "B: ...". Raises AdaMolmoError for more than 26."""
    if len(options) > len(ascii_uppercase):
        raise AdaMolmoError(f"question {question!r} has {len(options)} options: expected at most 26")
    listed = "".join(f"{letter}: {option}\n" for letter, option in zip(ascii_uppercase, options, strict=False))
    return f"{question}\n{listed}" if options else question
