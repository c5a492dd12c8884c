"""Where a fault of the configuration stands: in one of its files, or on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any


def source_of(location: Sequence[int | str], sources: Mapping[str, Mapping]) -> str:
    """What holds the key or most of its parents; of several the last, which overrides the others."""

    def depth(source: str) -> int:
        content: Any = sources[source]
        for found, part in enumerate(location):
            if not isinstance(content, Mapping) or part not in content:
                return found
            content = content[part]
        return len(location)

    return max(reversed(sources), key=depth, default="configuration")
