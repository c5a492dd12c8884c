"""The log of a training: one JSON object per line, which is printed while it runs and kept with what was trained."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from adamolmo.files.embedded import TrainingLine
from adamolmo.files.writing import replacing


class TrainingLog:
    """Sums up the steps of one phase, a few at a time. `lines` are those of earlier runs, which it goes on with."""

    def __init__(self, lines: list[TrainingLine] | None = None):
        self.lines = lines or []
        self._losses: list[float] = []
        self._right: dict[str, list[float]] = defaultdict(list)
        self._started = time.monotonic() - (self.lines[-1].seconds if self.lines else 0)

    def add(self, loss: float, right: Mapping[str, Iterable[float]]) -> None:
        """One batch: its loss, and per kind the shares that were right."""
        self._losses.append(loss)
        for kind, values in right.items():
            self._right[kind] += values

    def end_line(self, phase: str, step: int) -> None:
        """Says how it went since the line before."""
        accuracy = {kind: round(float(np.mean(values)), 4) for kind, values in sorted(self._right.items()) if values}
        seconds = round(time.monotonic() - self._started, 1)
        loss = round(float(np.mean(self._losses)), 4)
        self.lines.append(TrainingLine(phase=phase, step=step, loss=loss, accuracy=accuracy, seconds=seconds))
        self._losses, self._right = [], defaultdict(list)
        print(self.lines[-1].model_dump_json(), flush=True)


def write_log(lines: Iterable[TrainingLine], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line.model_dump_json()}\n" for line in lines))
