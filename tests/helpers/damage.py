"""Seeded damage to files, and what reading them may then come to: the same content, or one sentence."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adamolmo.errors import AdaMolmoError


def flipped(whole: bytes, rng: random.Random, until: int | None = None) -> bytes:
    """With one bit turned, before byte `until`."""
    at = rng.randrange(until or len(whole))
    return whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :]


def damaged(whole: bytes, rng: random.Random, until: int | None = None) -> bytes:
    """With a bit turned, bytes replaced, doubled or cut out, or the end cut off, from somewhere before byte `until`."""
    at, size = rng.randrange(until or len(whole)), rng.randint(1, 8)
    kind = rng.randrange(5)
    if kind == 0:
        return flipped(whole, rng, until)
    if kind == 1:
        return whole[:at] + rng.randbytes(size) + whole[at + size :]
    if kind == 2:
        return whole[:at] + whole[at : at + size] + whole[at:]
    return whole[:at] + whole[at + size :] if kind == 3 else whole[:at]


def read_or_refused(path: Path, read: Callable[[Path], Any]) -> Any:
    """None where one sentence that names the file refuses it; anything else that is raised fails the test."""
    try:
        return read(path)
    except AdaMolmoError as error:
        sentence = str(error)
    assert "\n" not in sentence and str(path) in sentence
    return None
