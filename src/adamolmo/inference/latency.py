"""Honest latency: a device of one's own, clocks that split a request into stages, warm-up, what device it was.

Importing this module does not import torch, so that a device can be claimed and threads be limited before that.
"""

import fcntl
import gc
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from adamolmo.errors import AdaMolmoError
from adamolmo.model.cost import Cost
from adamolmo.progress import note

_SECONDS_BETWEEN_TRIES = 0.2
_WARM_UP_WINDOW = 5
# Rates of a nominal device, near one core of a server: what a modelled millisecond means.
_FLOPS_PER_MS = 40e6
_BYTES_PER_MS = 10e6
_MS_PER_LAUNCH = 0.002


@contextmanager
def claim_device(device: str) -> Iterator[str]:
    """Holds one CPU core or GPU alone among all who ask for it; waits while none is free. Yields its name.

    The claim is an advisory lock on a file in the temporary directory: it ends with the process, however that ends.
    On the CPU the process is pinned to the core and torch limited to one thread; among GPUs only the claimed one stays
    visible. Call it before torch is imported.

    Args:
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        candidates = [f"gpu-{gpu}" for gpu in _visible_gpus()]
    else:
        candidates = [f"core-{core}" for core in sorted(_allowed_cores())]
    name, lock = _first_free(candidates)
    allowed_before = _allowed_cores()
    try:
        kind, _, index = name.partition("-")
        if kind == "gpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = index
        else:
            _pin({int(index)})
            _use_one_thread()
        yield name
    finally:
        _pin(allowed_before)
        os.close(lock)


def _first_free(candidates: list[str]) -> tuple[str, int]:
    """Name and open lock file of the first candidate that nobody holds."""
    directory = Path(tempfile.gettempdir())
    waits = False
    while True:
        for name in candidates:
            file = _open_lock(directory / f"adamolmo-{name}.lock")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return name, file
            except BlockingIOError:
                os.close(file)
        if not waits:
            note(f"waiting until one of {', '.join(candidates)} is free")
            waits = True
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _open_lock(path: Path) -> int:
    """A file that all users of the machine can lock. It is never deleted: a lock on a deleted file excludes nobody."""
    try:
        # Linux may refuse O_CREAT for another user's file in a directory such as /tmp (fs.protected_regular).
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT)
        os.fchmod(file, 0o644)  # whatever the umask
        return file


def _allowed_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _pin(cores: set[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _use_one_thread() -> None:
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _visible_gpus() -> list[str]:
    """UUIDs of the GPUs this process may use: an index means different GPUs in different processes."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise AdaMolmoError("device is 'cuda', but nvidia-smi finds no GPU here; expected one, or 'cpu'.") from error
    uuids = dict(line.split(", ") for line in listing.strip().splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = list(uuids.values()) if visible is None else [uuids.get(v, v) for v in visible.split(",") if v]
    if not gpus:
        raise AdaMolmoError("device is 'cuda', but CUDA_VISIBLE_DEVICES hides every GPU; expected one, or 'cpu'.")
    return gpus


def describe_device(device: str) -> dict:
    """What a latency belongs to; tables of different descriptions must not be mixed. The machine's name is left out."""
    import torch

    if device == "cuda":
        return {"kind": "cuda", "name": torch.cuda.get_device_name(), "torch": torch.__version__}
    return {
        "kind": "cpu",
        "name": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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


def _recorded_event():
    import torch

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


def _sum_stages(intervals) -> StageTimes:
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
