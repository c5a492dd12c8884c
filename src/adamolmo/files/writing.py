"""How files are written, complete or not at all, whatever happens meanwhile; and their checksums."""

import errno
import hashlib
import os
import secrets
from glob import escape
from pathlib import Path
from typing import Any

from adamolmo.errors import AdaMolmoError
from adamolmo.files.launcher import launcher_is_gone

_NOT_FOR_WANT_OF_ROOM = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class replacing:  # noqa: N801 (reads as a verb: `with replacing(path) as temporary`)
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The name is new each time, so that two writers cannot mix. Who is first removes what others have begun: these were
    killed, or will find that they are late.

    Args:
        needed_bytes: named when the file cannot be written.

    Raises AdaMolmoError when the disk is full or cannot be written to, another process wrote the file meanwhile, or the
    Snakemake that started this job is gone.
    """

    def __init__(self, path: str | Path, needed_bytes: int | None = None) -> None:
        self.path = Path(path)
        self.needed_bytes = needed_bytes
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.temporary

    def __exit__(self, kind: Any, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                self._commit()
        except OSError as fault:
            raise self._unwritable(fault) from fault
        finally:
            self.temporary.unlink(missing_ok=True)
        if _is_of_the_disk(error):
            raise self._unwritable(error) from error

    def _commit(self) -> None:
        if not self.temporary.exists():  # removed below, by the other
            raise AdaMolmoError(
                f"{self.path}: another process wrote it meanwhile; when that ended, run Snakemake again."
            )
        with open(self.temporary, "rb") as file:
            os.fsync(file.fileno())  # where writing is put off (network file systems), a full disk shows here at last
        if launcher_is_gone():
            raise AdaMolmoError(f"{self.path}: left as it was, because the Snakemake that started this job has ended.")
        os.replace(self.temporary, self.path)
        for abandoned in self.path.parent.glob(f".{escape(self.path.name)}.*.tmp"):
            abandoned.unlink(missing_ok=True)

    def _unwritable(self, error: BaseException) -> AdaMolmoError:
        reason = (getattr(error, "strerror", None) or str(error)).split("\n")[0].rstrip(".")
        size = f", which needs {self.needed_bytes / 1e9:.3g} GB" if self.needed_bytes else ""
        forbidden = getattr(error, "errno", None) in _NOT_FOR_WANT_OF_ROOM
        advice = "expected a place that you may write to" if forbidden else f"make room for it{size}"
        return AdaMolmoError(
            f"{self.path}: cannot be written ({reason}); {advice}, and run Snakemake again, which keeps "
            "all finished files."
        )


def _is_of_the_disk(error: BaseException | None) -> bool:
    # safetensors has an exception of its own for what is an OSError elsewhere.
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError"


def file_checksum(*paths: str | Path) -> str:
    """sha256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
