"""What a long job says while it runs, on stderr: a bar on a terminal, plain lines in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from adamolmo.errors import printable

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[Item], description: str, total: int, earlier: int = 0) -> Iterator[Item]:
    """Passes `items` on and reports to stderr how many of `total` are done; `earlier` of them were done before."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total, initial=earlier)
        return
    start = last_line = time.monotonic()
    for done, item in enumerate(items, start=earlier + 1):
        yield item
        now = time.monotonic()
        if done == total or now - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = now
            outlook = _outlook(done - earlier, total - earlier, now - start)
            note(f"{description}: {done}/{total} after {now - start:.0f} s{outlook}")


def _outlook(done: int, total: int, seconds: float) -> str:
    """Rate so far and the time that the rest takes at that rate."""
    if seconds <= 0:
        return ""
    rest = "" if done == total else f", {seconds * (total - done) / done:.0f} s left"
    rate = done / seconds
    return f" ({rate:.0f}/s{rest})" if rate >= 10 else f" ({rate:.2g}/s{rest})"


def note(message: str) -> None:
    """One line about something that is worth knowing and not an error."""
    print(printable(message), file=sys.stderr, flush=True)
