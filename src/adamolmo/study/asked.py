"""Who is to answer which kind of requests."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.controllers.governor_file import Stream
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.inference.controller import Controller


@dataclass(frozen=True)
class Asked:
    """Attributes:
    controller: one of the study's by name, or one of one's own.
    dataset: whose lookup table, prompt style and reference latency count.
    """

    controller: str | Controller
    dataset: str
    budget: Budget

    @property
    def stream(self) -> Stream:
        """By names alone, as a file keeps it."""
        name = self.controller if isinstance(self.controller, str) else self.controller.name
        return Stream(name, self.dataset, self.budget)

    @property
    def key(self) -> Hashable:
        """The same for the requests of one stream; controllers of one's own are told apart even under one name."""
        return self.controller if isinstance(self.controller, str) else id(self.controller), self.dataset, self.budget

    def reference_path(self, results: Path) -> Path:
        """Of the dataset's profile."""
        return results / "core_exp" / f"{self.dataset}.reference.json"

    def reference(self, results: Path) -> Reference | None:
        """Of the dataset's profile; None where there is none and nothing depends on it, as for a budget in ms.

        Raises AdaMolmoError when the file is missing or unusable.
        """
        path = self.reference_path(results)
        return None if self.budget.unit == "ms" and not path.exists() else read_json(path, Reference)

    def budget_ms(self, results: Path) -> float:
        """Raises AdaMolmoError as `reference`."""
        if self.budget.unit == "ms":
            return self.budget.value
        return self.budget.to_ms(self.reference(results).median_latency_ms)
