"""What takes long is made once, whichever test process comes first."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared_folder(name: str, tmp_path_factory, worker_id: str) -> Iterator[Path]:
    """The same folder for all test processes, one at a time inside; the first finds that it is not there."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / name
