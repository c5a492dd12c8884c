"""The one exception that users of AdaMolmo see for bad input, and how texts of others come into its sentence."""

import os
import re
from pathlib import Path

_OBJECT = re.compile(r"<([^<>]*) at 0x[0-9a-fA-F]+>")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_MOST_CHARACTERS = 300
_LONGEST_QUOTED = 60


class AdaMolmoError(Exception):
    """Bad input. `str(error)` is one sentence: the file or key, what was found, what was expected.

    What was found may hold anything: what a terminal would act upon is spelt out ("\\x1b").
    """

    def __init__(self, sentence: str):
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    """The text with its control, formatting and undecodable characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(value: object) -> str:
    """Of a value whatever it is, as much as a sentence can quote."""
    shown = printable(str(value))
    return f"'{shown}'" if len(shown) <= _LONGEST_QUOTED else f"'{shown[: _LONGEST_QUOTED - 3]}...'"


def absence(path: str | Path) -> str | None:
    """Why nothing can be read at a path, going on from its name; None if something is there."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "is a link that leads nowhere" if os.path.islink(path) else "does not exist"
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"
    return None


def no_file(path: str | Path) -> str | None:
    """Why no file can be read at a path, going on from its name; None if there is one."""
    return None if os.path.isfile(path) else absence(path) or "is no file"


def stable(text: str) -> str:
    """What another library says, fit for a result: on one line, printable, without addresses of this process, short.

    Two runs of one study then say the same of the same fault.
    """
    text = _OBJECT.sub(r"\1", text)
    visible = "".join(c if c.isprintable() else " " for c in _ADDRESS.sub("...", text))
    line = " ".join(visible.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 3]}..."
