"""A checksum inside a Parquet file, over all of its other bytes.

Parquet's own checksums cover pages, but neither their headers nor the footer: a bit that flips there gives other
numbers. So 32 bytes with the sha256 of the rest stand between the last page and the footer, where no reader looks:

    PAR1 | pages | sha256 of everything else | footer | its length | PAR1
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"PAR1"
_TAIL = 8  # length of the footer, magic
_SEAL = hashlib.sha256().digest_size
_BLOCK = 1 << 20


def seal(path: Path) -> None:
    """Adds the checksum to a Parquet file that has none."""
    content = path.read_bytes()
    footer = len(content) - _TAIL - int.from_bytes(content[-_TAIL:-4], "little")
    with open(path, "wb") as file:
        for part in (content[:footer], hashlib.sha256(content).digest(), content[footer:]):
            file.write(part)


def is_intact(path: str | Path) -> bool:
    """Whether the file is one that `seal` has left, to the last bit. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
        seal_at = size - _TAIL - int.from_bytes(tail[:4], "little") - _SEAL
        if len(tail) < _TAIL or tail[4:] != _MAGIC or seal_at < len(_MAGIC):
            return False
        digest = hashlib.sha256()
        file.seek(0)
        for block in _blocks(file, seal_at):
            digest.update(block)
        found = file.read(_SEAL)
        for block in _blocks(file, size - file.tell()):
            digest.update(block)
    return found == digest.digest()


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block
