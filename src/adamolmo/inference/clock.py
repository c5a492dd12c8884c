"""What a millisecond is: clocks that split a request into stages, and the warm-up before the first one counts."""

import gc
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import torch

from adamolmo.backend.cost import Cost
from adamolmo.errors import AdaMolmoError

_WARM_UP_WINDOW = 5
# Rates of a nominal device, near one core of a server: what a modelled millisecond means.
_FLOPS_PER_MS = 40e6
_BYTES_PER_MS = 10e6
_MS_PER_LAUNCH = 0.002


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of one request. Preprocessing is apart: it runs on the host, before the model."""

    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    controller_ms: float = 0.0
    decode_ms: float = 0.0
    preprocess_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        return self.vision_ms + self.prefill_ms + self.controller_ms + self.decode_ms


class StageTimer(Protocol):
    """Follows one request through its stages: vision, prefill, controller, decode, preprocess."""

    def mark(self, stage: str, cost: Cost) -> None:
        """Ends the stage that ran since the last mark (or the start). A stage may be marked several times."""

    def finish(self) -> StageTimes:
        """The times of all marked stages; on a GPU this is the only point that waits for the device."""


class Clock(Protocol):
    """Makes a timer per request."""

    name: str

    def start(self) -> StageTimer: ...


class MeasuredClock:
    """Time that passes: the process's finest counter on a CPU, events in the stream on a GPU."""

    name = "measured"

    def __init__(self, device: str):
        self._start = _EventTimer if device == "cuda" else _CounterTimer

    def start(self) -> StageTimer:
        return self._start()


class _CounterTimer:
    def __init__(self) -> None:
        self._intervals: list[tuple[str, float]] = []
        self._last_ns = time.perf_counter_ns()

    def mark(self, stage: str, cost: Cost) -> None:
        now_ns = time.perf_counter_ns()
        self._intervals.append((stage, (now_ns - self._last_ns) / 1e6))
        self._last_ns = now_ns

    def finish(self) -> StageTimes:
        return _sum_stages(self._intervals)


class _EventTimer:
    def __init__(self) -> None:
        self._stages: list[str] = []
        self._events = [_recorded_event()]

    def mark(self, stage: str, cost: Cost) -> None:
        self._stages.append(stage)
        self._events.append(_recorded_event())

    def finish(self) -> StageTimes:
        self._events[-1].synchronize()
        pairs = zip(self._events, self._events[1:], strict=False)
        return _sum_stages(zip(self._stages, (start.elapsed_time(end) for start, end in pairs), strict=True))


def _recorded_event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class ModelledClock:
    """Time from the cost of the work at fixed nominal rates: equal requests take equal time, on every machine."""

    name = "modelled"

    def start(self) -> StageTimer:
        return _CostTimer()


class _CostTimer:
    def __init__(self) -> None:
        self._costs: dict[str, Cost] = {}

    def mark(self, stage: str, cost: Cost) -> None:
        self._costs[stage] = self._costs.get(stage, Cost()) + cost

    def finish(self) -> StageTimes:
        return _sum_stages((stage, modelled_ms(cost)) for stage, cost in self._costs.items())


def modelled_ms(cost: Cost) -> float:
    """Roofline of the nominal device plus its launches."""
    return max(cost.flops / _FLOPS_PER_MS, cost.bytes / _BYTES_PER_MS) + cost.launches * _MS_PER_LAUNCH


def make_clock(name: str, device: str) -> Clock:
    """The clock that a study's setting `latency.clock` names. Raises AdaMolmoError for another name."""
    if name == "measured":
        return MeasuredClock(device)
    if name == "modelled":
        return ModelledClock()
    raise AdaMolmoError(f"latency.clock is '{name}'; expected 'measured' or 'modelled'.")


def _sum_stages(intervals: Iterable[tuple[str, float]]) -> StageTimes:
    totals: dict[str, float] = {}
    for stage, ms in intervals:
        totals[f"{stage}_ms"] = totals.get(f"{stage}_ms", 0.0) + ms
    return StageTimes(**totals)


def warm_up(run: Callable[[], float], max_runs: int, drift_limit_pct: float = 1.0) -> int:
    """Runs until latency stands still: the medians of two successive windows differ by less than the limit.

    Everything loaded so far is then exempted from garbage collection, whose search would otherwise interrupt some
    request for longer than the request itself takes.

    Args:
        run: one run; returns its latency in ms.
        max_runs: gives up then, because a busy machine may never stand still.

    Returns:
        The number of runs made.
    """
    latencies_ms: deque[float] = deque(maxlen=2 * _WARM_UP_WINDOW)
    runs = 0
    while runs < max_runs and not _stands_still(latencies_ms, drift_limit_pct):
        latencies_ms.append(run())
        runs += 1
    gc.collect()
    gc.freeze()
    return runs


def _stands_still(latencies_ms: deque[float], drift_limit_pct: float) -> bool:
    if len(latencies_ms) < 2 * _WARM_UP_WINDOW:
        return False
    before, after = (
        median(list(latencies_ms)[part]) for part in (slice(_WARM_UP_WINDOW), slice(_WARM_UP_WINDOW, None))
    )
    return abs(after - before) < drift_limit_pct / 100 * before
