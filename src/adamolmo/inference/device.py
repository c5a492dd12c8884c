"""A device of one's own, and what device it is.

Importing this module does not import torch, so that a device can be claimed and threads be limited before that.
"""

import errno
import fcntl
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.progress import note

_SECONDS_BETWEEN_TRIES = 0.2
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
