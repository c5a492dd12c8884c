"""A prepared model: the files that `prepare_model` has written, and whether they still are those of its manifest."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.launcher import own_launcher
from adamolmo.files.model import Check, Manifest
from adamolmo.files.writing import file_checksum

MANIFEST = "manifest.json"
_VERIFIED = ".verified"


@dataclass(frozen=True)
class Prepared:
    """What a backend has written.

    Attributes:
        model_type: the architecture.
        files: names of all files that the model is read from, the weights first.
        checks: what was found right before anybody uses it.
    """

    model_type: str
    num_parameters: int
    num_blocks: int
    files: tuple[str, ...]
    checks: tuple[Check, ...]


def check_prepared(directory: Path) -> None:
    """Raises AdaMolmoError when the files of a prepared model are not all there, or are not those of its manifest.

    Reading them all takes a second per GB, so the jobs of one Snakemake share it: who has found them right leaves a
    note, which counts for this Snakemake as long as the files have the same size and time.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        return
    again = f"'snakemake --force {manifest}' makes it again."
    written = read_json(manifest, Manifest)
    files = [directory / name for name in written.files]
    for path in files:
        if not path.is_file():
            raise AdaMolmoError(f"{path}: is missing; {again}")
    expected, note = written.checksum, directory / _VERIFIED
    looks = [f"{name.name} {(stat := name.stat()).st_size} {stat.st_mtime_ns} {stat.st_ino}" for name in files]
    verified = "\n".join([f"{own_launcher()} found {expected}", *looks])
    with suppress(OSError, ValueError):
        if own_launcher() and note.read_text() == verified:
            return
    if file_checksum(*files) != expected:
        raise AdaMolmoError(
            f"{directory}: {', '.join(written.files)} are not what the checksum in {MANIFEST} says: one of them was "
            f"changed after it was written; {again}"
        )
    if own_launcher():
        with suppress(OSError):
            note.write_text(verified)


def inspect_manifest(path: Path) -> str:
    """What a prepared model is, and what it was checked for. Raises AdaMolmoError for another file."""
    manifest = read_json(path, Manifest)
    lines = [
        f"model {manifest.model_type}: {path}",
        f"size      {manifest.num_parameters} parameters, {manifest.num_blocks} blocks, {manifest.dtype}",
        f"checksum  sha256 {manifest.checksum[:16]}",
        f"checks    {len(manifest.checks)}: difference of the logits found (allowed), relative to the largest",
        *(f"  {check.difference:.1e} ({check.allowed:.1e})  {check.name}" for check in manifest.checks),
    ]
    return "\n".join(lines)
