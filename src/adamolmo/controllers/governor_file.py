"""A governor's state on disk, between the calls of a command that answers one request each."""

from dataclasses import dataclass
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.files.governor import GOVERNOR_STATE
from adamolmo.files.schema import read_json, write_json


@dataclass(frozen=True)
class GovernorState:
    """Where a stream of requests stands: how many there were, and the margin of the next one."""

    requests: int
    margin: float


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
        found = read_json(path, GOVERNOR_STATE)
        for key, expected in self._names().items():
            if found[key] != expected:
                raise AdaMolmoError(
                    f"{path}: keeps the requests of {key} '{found[key]}'; expected '{expected}', or another file."
                )
        if found["requests"] < 0 or found["margin"] <= -1:
            raise AdaMolmoError(
                f"{path}: requests {found['requests']}, margin {found['margin']:g}; expected >= 0 and > -1."
            )
        return GovernorState(found["requests"], found["margin"])

    def write(self, path: Path, state: GovernorState) -> None:
        write_json(self._names() | vars(state), path, GOVERNOR_STATE)

    def _names(self) -> dict[str, str]:
        return {"controller": self.controller, "dataset": self.dataset, "budget": str(self.budget)}
