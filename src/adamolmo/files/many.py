"""Many files as one short text, as shells write alternatives: `results/eval/{okvqa,gqa}/{lookup-mean}/{60pct}.json`.

The kernel takes 128 kB as a job's command, which is some 1900 cells; as alternatives they are a few hundred characters.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, product
from pathlib import Path

_ALTERNATIVES = re.compile(r"{([^{}]*)}")


def as_one(form: str, *choices: Iterable[object]) -> str:
    """`form` has a `{}` for each of `choices`, whose entries have neither braces nor commas."""
    parts = form.split("{}")
    if len(parts) != len(choices) + 1:
        raise ValueError(f"{form} has {len(parts) - 1} places for {len(choices)} choices")
    written = ("{" + ",".join(map(str, entries)) + "}" for entries in choices)
    return "".join(chain.from_iterable(zip(parts, [*written, ""], strict=True)))


def all_of(text: str) -> list[Path]:
    """The inverse: every combination, the last alternatives changing fastest; none if one of them is empty."""
    parts = _ALTERNATIVES.split(text)
    choices: Sequence[Sequence[str]] = [
        (part.split(",") if part else []) if place % 2 else [part] for place, part in enumerate(parts)
    ]
    return [Path("".join(chosen)) for chosen in product(*choices)]
