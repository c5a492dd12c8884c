"""A governor's state on disk, between the calls of a command that answers one request each."""

from dataclasses import dataclass
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.governor import GovernorState, StreamState


@dataclass(frozen=True)
class Stream:
    """Which requests share a governor: those to one controller, of one dataset, under one budget."""

    controller: str
    dataset: str
    budget: Budget

    def read(self, path: Path) -> GovernorState | None:
        """None if the file does not exist yet. Raises AdaMolmoError when it is unusable or another stream's."""
        if not path.exists():
            return None
        found = read_json(path, StreamState)
        for key, expected in self._names().items():
            if getattr(found, key) != expected:
                raise AdaMolmoError(
                    f"{path}: keeps the requests of {key} '{getattr(found, key)}'; expected '{expected}', or another "
                    "file."
                )
        return GovernorState(requests=found.requests, margin=found.margin, slowdown=found.slowdown)

    def write(self, path: Path, state: GovernorState) -> None:
        write_json(StreamState(**dict(state), **self._names()), path)

    def _names(self) -> dict[str, str]:
        return {"controller": self.controller, "dataset": self.dataset, "budget": str(self.budget)}
