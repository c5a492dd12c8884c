"""Jobs without their imports: a process that has imported what jobs import forks one child for each of them.

Every job is a process of its own, but importing torch and the tables' libraries takes most jobs longer than their work.
The first job of a Snakemake starts this server, which ends with that Snakemake. A job's own process (`start`) hands its
arguments, environment, directory and standard streams over a socket in `.snakemake` and waits:

Once the study's model is prepared, the server also imports the code that runs it, which takes several seconds for a
model of transformers.

    start -> connects -> the server forks -> the child takes over what it is given, runs the script, ends
          <- exit status <- the server                                      killed if `start` goes away

Where a job has a Snakemake for itself (on a cluster's node) or none (in a terminal), or there is no Linux, it runs
without.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from adamolmo.files.launcher import launcher_is_gone, own_launcher
from adamolmo.inference.device import HUGE_PAGES

# What most jobs import and takes long.
PRELOADED = ("torch", "pandas", "pyarrow.parquet", "scipy.stats", "adamolmo.jobs.loading", "adamolmo.evaluation.cell")
_MODEL = Path("results/model")
_FOLDER = Path(".snakemake")
_STREAMS = (0, 1, 2)
_SECONDS_TO_START = 10
_MS_BETWEEN_LOOKS = 1000  # at whether Snakemake still runs
_BEGUN = b"!"
_LOST = 1
_PR_SET_PDEATHSIG = 1


def run_job(arguments: Sequence[str], preloaded: Sequence[str] = PRELOADED) -> int | None:
    """Lets the server run a job, see `execute`; returns its exit status, or None where there is no server to be had."""
    if not hasattr(os, "pidfd_open") or not _FOLDER.is_dir() or not _has_many_jobs(own_launcher()):
        return None
    content = json.dumps([list(arguments), os.getcwd(), dict(os.environ)]).encode()
    try:
        with _connect(_address(), preloaded) as connection:
            socket.send_fds(connection, [len(content).to_bytes(8, "big")], _STREAMS)
            connection.sendall(content)
            if connection.recv(1) != _BEGUN:
                return None
            status = _status_from(connection)
    except OSError:  # before anything has begun
        return None
    if status is None:
        ended = "was stopped, because the Snakemake that started it has ended" if launcher_is_gone() else "was lost"
        print(f"error: this job {ended}; run Snakemake again.", file=sys.stderr)
        return _LOST
    return status


def _has_many_jobs(launcher: str | None) -> bool:
    """Whether it runs here and is not the Snakemake that a cluster's job consists of, which runs one job alone."""
    if launcher is None or launcher_is_gone():
        return False
    with suppress(OSError):
        return b"--target-jobs" not in Path(f"/proc/{launcher.split('-')[0]}/cmdline").read_bytes()
    return False


def _status_from(connection: socket.socket) -> int | None:
    """None when the connection ends without one."""
    with suppress(ConnectionError):
        if status := connection.recv(4):
            return int.from_bytes(status, "big")
    return None


def serve(address: str, execute: Callable[[list[str]], None], preloaded: Sequence[str]) -> None:
    """Until Snakemake has ended."""
    path = Path(address)
    with socket.socket(socket.AF_UNIX) as listener:
        path.unlink(missing_ok=True)
        listener.bind(address)
        listener.listen(1000)
        for module in preloaded:
            import_module(module)
        _Server(listener, execute).run()
    for file in (path, _lock_of(path), _log_of(path)):
        file.unlink(missing_ok=True)


class _Server:
    """Attributes:
    jobs: the connection of each child's job, by the child's process file descriptor.
    has_model_code: whether the code that runs the study's model is imported.
    """

    def __init__(self, listener: socket.socket, execute: Callable[[list[str]], None]):
        self.listener, self.execute = listener, execute
        self.jobs: dict[int, tuple[int, socket.socket]] = {}
        self.has_model_code = False
        self.events = select.poll()
        self.events.register(listener, select.POLLIN)

    def run(self) -> None:
        while not launcher_is_gone():
            for number, _ in self.events.poll(_MS_BETWEEN_LOOKS):
                if number == self.listener.fileno():
                    self._begin()
                elif number in self.jobs:
                    self._end(number)
                else:
                    self._stop(number)
        for process in self.jobs:
            signal.pidfd_send_signal(process, signal.SIGTERM)

    def _begin(self) -> None:
        connection, _ = self.listener.accept()
        if not self.has_model_code:
            self.has_model_code = _import_model_code()
        child = os.fork()
        if child == 0:
            self._let_go()
            _become_job(connection, self.execute)
        process = os.pidfd_open(child)
        self.jobs[process] = child, connection
        self.events.register(process, select.POLLIN)
        self.events.register(connection, select.POLLRDHUP)  # what the job sends is for the child to read

    def _let_go(self) -> None:
        """In a child: whoever waits for the server or for another child must see them end."""
        self.listener.close()
        for process, (_, connection) in self.jobs.items():
            os.close(process)
            connection.close()

    def _end(self, process: int) -> None:
        child, connection = self.jobs.pop(process)
        _, wait_status = os.waitpid(child, 0)
        self.events.unregister(process)
        with suppress(KeyError):  # the job has gone before
            self.events.unregister(connection)
        os.close(process)
        status = os.waitstatus_to_exitcode(wait_status)
        with suppress(OSError), connection:
            connection.sendall((status if status >= 0 else 128 - status).to_bytes(4, "big"))

    def _stop(self, connection: int) -> None:
        """The job has gone: nobody waits for its child any more."""
        self.events.unregister(connection)
        for process, (_, other) in self.jobs.items():
            if other.fileno() == connection:
                signal.pidfd_send_signal(process, signal.SIGTERM)


def _import_model_code() -> bool:
    """Whether there is a prepared model. What is wrong with it is for the jobs to say, which read it as well."""
    if not (_MODEL / "manifest.json").is_file():
        return False
    with suppress(Exception):
        import_module("adamolmo.backend.loading").import_code(_MODEL)
    return True


def _become_job(connection: socket.socket, execute: Callable[[list[str]], None]) -> NoReturn:
    """The child: takes over what it is sent, runs, and ends without returning."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # nobody would tell the job how its child ends
        length, streams, _, _ = socket.recv_fds(connection, 8, len(_STREAMS))
        arguments, directory, environment = json.loads(_read(connection, int.from_bytes(length, "big")))
        connection.sendall(_BEGUN)
        connection.close()
        for target, stream in zip(_STREAMS, streams, strict=True):
            os.dup2(stream, target)
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(directory)
        status = _status_of(execute, arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _status_of(execute: Callable[[list[str]], None], arguments: list[str]) -> int:
    """What the interpreter would make of how `execute` ends."""
    try:
        execute(arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _read(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 16))
        if not part:
            raise EOFError("the job went away before it had said what to run")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _address() -> str:
    """Of this Snakemake's server for this interpreter; relative, since the addresses of sockets must be short."""
    key = hashlib.sha256(f"{own_launcher()} {sys.executable} {os.environ.get('PYTHONPATH')}".encode()).hexdigest()[:12]
    return str(_FOLDER / f"jobs-{key}.sock")


def _lock_of(address: Path) -> Path:
    return address.with_suffix(".lock")


def _log_of(address: Path) -> Path:
    """What the server itself says: nothing, unless it cannot start."""
    return address.with_suffix(".log")


def _connect(address: str, preloaded: Sequence[str]) -> socket.socket:
    """To the server, which is started where there is none yet. Raises OSError where it does not start."""
    with suppress(OSError):
        return _connected(address)
    with _alone(_lock_of(Path(address))):
        with suppress(OSError):  # another job was faster
            return _connected(address)
        command = [sys.executable, "-m", "adamolmo.jobs.start", "--serve", address, *preloaded]
        # What is read once, when libraries are loaded; a fork keeps no other threads.
        settings = {HUGE_PAGES: "1", **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with open(_log_of(Path(address)), "w") as log:
            server = subprocess.Popen(
                command, env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < end and server.poll() is None:
            with suppress(OSError):
                return _connected(address)
            time.sleep(0.02)
    raise ConnectionError(f"{address}: no server started")


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(path, "w") as lock:
        flock(lock, LOCK_EX)
        yield
