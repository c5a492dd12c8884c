"""What a long job says while it runs, on stderr: a bar on a terminal, plain lines in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Passes `items` on and reports to stderr how many of `total` are done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total)
        return
    start = last_line = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = now
            print(f"{description}: {done}/{total} after {now - start:.0f} s", file=sys.stderr, flush=True)


def note(message: str) -> None:
    """One line about something that is worth knowing and not an error."""
    print(message, file=sys.stderr, flush=True)
