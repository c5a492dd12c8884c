"""A device of one's own, and what device it is.

Importing this module does not import torch, so that a device can be claimed and threads be limited before that.
"""

import ctypes
import errno
import fcntl
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.progress import note

_SECONDS_BETWEEN_TRIES = 0.2
# Read by PyTorch when it first allocates, and by glibc when a process starts: children inherit them.
HUGE_PAGES, _MMAP_THRESHOLD, _TRIM_THRESHOLD = (
    "THP_MEM_ALLOC_ENABLE",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)
_MALLOPT = {_MMAP_THRESHOLD: (-3, 32 * 2**20), _TRIM_THRESHOLD: (-1, 2**30)}  # mallopt(3): parameter, bytes
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def claim_device(device: str, gpus: int = 1) -> Iterator[str]:
    """Holds one CPU core, or GPUs, alone among all who ask for them; waits while there are too few. Yields the names.

    The claim is an advisory lock on a file in the temporary directory: it ends with the process, however that ends.
    On the CPU the process is pinned to the core, torch limited to one thread, and memory kept as `_keep_memory` says;
    among GPUs only the claimed ones stay visible. Call it before torch is imported.

    Args:
        device: "cpu" or "cuda".
        gpus: how many a model is spread over; of no matter on the CPU.

    Raises AdaMolmoError when there are not so many GPUs here.
    """
    if device == "cuda":
        visible = _visible_gpus()
        if gpus > len(visible):
            raise AdaMolmoError(
                f"model.gpus is {gpus}; this node has {len(visible)} for this job, expected at most that."
            )
        held = _first_free([f"gpu-{gpu}" for gpu in visible], gpus)
    else:
        held = _first_free([f"core-{core}" for core in sorted(_allowed_cores())], 1)
    allowed_before = _allowed_cores()
    try:
        indices = [name.partition("-")[2] for name in held]
        if device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(indices)
        else:
            _pin({int(indices[0])})
            _use_one_thread()
            _keep_memory()
        yield " ".join(held)
    finally:
        _pin(allowed_before)
        _release(held)


def _first_free(candidates: list[str], count: int) -> dict[str, int]:
    """The first candidates that nobody holds, by name their open lock files: all that are wanted, or none meanwhile."""
    directory = Path(tempfile.gettempdir())
    waits = False
    while True:
        held: dict[str, int] = {}
        for name in candidates:
            file = _open_lock(directory / f"adamolmo-{name}.lock")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            held[name] = file
            if len(held) == count:
                return held
        _release(held)
        if not waits:
            wanted = "one" if count == 1 else str(count)
            note(f"waiting until {wanted} of {', '.join(candidates)} {'is' if count == 1 else 'are'} free")
            waits = True
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _release(held: Mapping[str, int]) -> None:
    for file in held.values():
        os.close(file)


def _open_lock(path: Path) -> int:
    """A file that all users of the machine can lock. It is never deleted: a lock on a deleted file excludes nobody.

    Anybody may have put something else there: links are not followed, nothing is waited for, and only a file that this
    very call has made is given its mode. Raises AdaMolmoError for what is no regular file or cannot be opened.
    """
    try:
        try:
            # Linux may refuse O_CREAT for another user's file in a directory such as /tmp (fs.protected_regular).
            file = os.open(path, _OPEN)
        except FileNotFoundError:
            file = _make_lock(path)
    except OSError as error:
        found = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise AdaMolmoError(f"{path}: cannot be opened as a lock ({found}); remove it, or set TMPDIR.") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise AdaMolmoError(f"{path}: cannot be opened as a lock (no regular file); remove it, or set TMPDIR.")
    return file


def _make_lock(path: Path) -> int:
    try:
        file = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL)
    except FileExistsError:  # another job was faster, or it is a link to nowhere
        return os.open(path, _OPEN)
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


def _keep_memory() -> None:
    """Memory that a request frees stays with the process for the next one, and large tensors lie in huge pages.

    Otherwise the kernel takes pages back, and hands them out again one by one and zeroed, within what is timed. Both
    settings are for good: a process that has timed one configuration times all others alike.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    mallopt = getattr(
        ctypes.CDLL(None), "mallopt", None
    )  # glibc has it; a process that runs does not read its variables
    for variable, (parameter, size_bytes) in _MALLOPT.items():
        if mallopt is not None and mallopt(parameter, size_bytes):
            os.environ[variable] = str(size_bytes)


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


def describe_device(device: str, clock: str = "measured", decoding_on_gpu: str | None = None) -> dict:
    """What a latency belongs to; tables of different descriptions must not be mixed. The machine's name is left out.

    How a CPU's memory is managed (`_keep_memory`; "default" where it is not) belongs to measured latencies only.

    Args:
        decoding_on_gpu: how tokens follow each other there; it decides whether their time is the GPU's or the host's.
    """
    import torch

    if device == "cuda":
        count = torch.cuda.device_count()  # the claimed ones alone are visible
        several = {"gpus": count} if count > 1 else {}
        name = torch.cuda.get_device_name()
        decoding = {} if decoding_on_gpu is None else {"decoding": decoding_on_gpu}
        return {"kind": "cuda", "name": name, **several, **decoding, "torch": torch.__version__}
    description = {
        "kind": "cpu",
        "name": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if clock == "measured":
        variables = HUGE_PAGES, _MMAP_THRESHOLD, _TRIM_THRESHOLD
        description |= {variable: os.environ.get(variable, "default") for variable in variables}
    return description


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
