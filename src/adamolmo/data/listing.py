"""Which files on this machine a dataset is read from: what a job reads and what Snakemake watches is this one list.

One file may have any name. In a folder data is what has a suffix of the source, at any depth and through links; what
tools hide (".part.parquet", "_temporary/", ".crc") or cache is none.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NoReturn

from adamolmo.config.data import DatasetSettings
from adamolmo.errors import AdaMolmoError, absence, no_file, quoted

SUFFIXES = {
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv", ".tsv"),
    "json": (".json", ".jsonl"),
    "arrow": (".arrow",),
}
# Beside the Arrow files of a dataset that was saved to disk: which of them are its data, and what else is known of it.
SAVED_STATE = "state.json"
_LARGEST_FOOTER_BYTES = 1 << 20


def is_data(name: str, source: str = "parquet") -> bool:
    """Whether a file of this name, relative to its dataset, is data."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES[source] and not any(map(_is_hidden, path.parts))


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or (part.startswith("_") and "=" not in part)  # "_key=value" is a partition


def place(settings: DatasetSettings) -> Path:
    """The file or folder that is configured. Raises AdaMolmoError: the package that it lies in is not installed."""
    if settings.package is None:
        return Path(settings.path)
    try:
        spec = find_spec(settings.package)
    except (ImportError, ValueError):  # no name, or not even the package that it lies in
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise AdaMolmoError(
            f"lies in Python package {quoted(settings.package)}, which is not installed beside AdaMolmo; "
            "expected it there."
        )
    return Path(spec.submodule_search_locations[0], settings.path)


def data_files(path: Path, source: str = "parquet") -> list[Path]:
    """The file, or the data files of a folder, sorted. Raises AdaMolmoError: there is none, a link leads nowhere."""
    if os.path.isfile(path):
        return [path]
    kind = source.upper() if source in ("csv", "json") else source.capitalize()
    if not os.path.isdir(path):
        found = absence(path) or "is neither a file nor a folder"
        raise AdaMolmoError(f"{path} {found}; expected a {kind} file, or a folder with some.")
    files = sorted(file for file in _walk(path) if is_data(file.relative_to(path).as_posix(), source))
    if source == "arrow":
        files = [file for file in files if _is_saved(file)]
    if not files:
        raise AdaMolmoError(f"{path} has no {kind} file; expected at least one ({', '.join(SUFFIXES[source])}).")
    for file in files:
        if fault := no_file(file):
            raise AdaMolmoError(f"{file} {fault}; expected a {kind} file.")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """All files below, through linked folders as well, unless one leads back into what it lies in. Raises
    AdaMolmoError for a folder that cannot be looked into: its files would be missing without a word."""
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if os.path.islink(parent) and os.path.realpath(parent) in map(
            os.path.realpath, Path(parent).absolute().parents
        ):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(parent, name) for name in names)


def _refuse(error: OSError) -> NoReturn:
    raise AdaMolmoError(f"{error.filename}: cannot be looked into ({error.strerror}).") from error


def _is_saved(file: Path) -> bool:
    """Whether an Arrow file is data of its folder, and not what `datasets` has cached there. Raises AdaMolmoError."""
    state = file.with_name(SAVED_STATE)
    if not state.exists():
        return not file.name.startswith("cache-")
    try:
        return file.name in [entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AdaMolmoError(f"{state}: cannot be read; expected it as `save_to_disk` of datasets writes it.") from error


def fingerprint(files: Sequence[Path], source: str = "parquet") -> str:
    """Changes with the files' names and sizes, and with their times or, of Parquet, footers instead: a file that is
    replaced by an older one is noticed. Footers hold every column's sizes and limits, so little has to be read."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file}\0{stat.st_size}\0".encode(errors="surrogateescape"))
        digest.update(_footer(file) if source == "parquet" else f"{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        length = min(int.from_bytes(file.read(8)[:4], "little") + 8, _LARGEST_FOOTER_BYTES, size)
        file.seek(size - length)
        return file.read(length)
