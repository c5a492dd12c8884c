"""Images that the cells of a text table name by a path, or hold as base64."""

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

from adamolmo.config.data import ColumnSettings
from adamolmo.data.conversion import shown, to_id, to_text
from adamolmo.data.rows import Row, image_cell, lookup
from adamolmo.errors import no_file

_EXPECTED = "expected the path of an image file, or the file in base64"
# With any type or none: "data:image/png;base64,", "data:;base64,".
_DATA_ADDRESS = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_OTHER_ADDRESS = re.compile(r"(?:data:|[a-z][a-z0-9+.-]+://)", re.IGNORECASE)
# How the files of `images.FORMATS` begin.
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_LONGEST_REFERENCE = 64  # characters, as in VLMEvalKit


@dataclass(frozen=True)
class ImageFiles:
    """Finds the images of one table.

    Attributes:
        folder: the table's own, from which paths are seen.
        top: the dataset's folder, which no path leads out of: what data of others name must not become results.
        held: by question id the images in base64; a cell may refer to the one of another question, as in VLMEvalKit.
    """

    folder: Path
    top: Path
    held: Mapping[str, str]

    @classmethod
    def of_table(cls, path: Path, top: Path, rows: Iterable[Row], columns: ColumnSettings) -> "ImageFiles":
        return cls(path.parent, top, dict(_held(rows, columns)) if columns.question_id else {})

    def load(self, cell: Any) -> bytes:
        """The image file. Raises ValueError, which goes on from "column 'image' "."""
        text = self._text(cell)
        path = self._path(text)
        if path is None:
            return _from_base64(text)
        if fault := no_file(path):
            raise ValueError(f"names '{text:.120}', which {fault}: {path!s:.200}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"names '{text:.120}', which cannot be read ({error.strerror})") from error

    def path(self, cell: Any) -> Path | None:
        """The file that a cell names; None if it holds the image. Raises ValueError as `load`."""
        return self._path(self._text(cell))

    def _text(self, cell: Any) -> str:
        """A path or base64."""
        if isinstance(cell, list) and len(cell) == 1:
            (cell,) = cell
        if isinstance(cell, Mapping) and cell.get("bytes") is None and "path" in cell:
            cell = cell["path"]
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError(f"holds {shown(cell)}; {_EXPECTED}")
        if len(cell) <= _LONGEST_REFERENCE and cell in self.held:
            return self.held[cell]
        return cell

    def _path(self, text: str) -> Path | None:
        return None if _is_base64(text) else _file(text, self.folder, self.top)


@lru_cache(maxsize=1 << 20)  # many questions are about one image
def _file(name: str, folder: Path, top: Path) -> Path:
    if _OTHER_ADDRESS.match(name):
        raise ValueError(f"holds the address '{name:.120}', which is not fetched; {_EXPECTED}")
    spelt = [Path(os.path.normpath(folder / spelling)) for spelling in _spellings(to_text(name))]
    path = next(filter(os.path.isfile, spelt), spelt[0])
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(top)):
        raise ValueError(f"names '{name:.120}', which is not in {top}; {_EXPECTED}, inside that folder")
    return path


def _spellings(name: str) -> Iterator[str]:
    """Of one name: as it stands, with accents as other systems compose them, and of Windows with its backslashes."""
    for separated in dict.fromkeys((name, name.replace("\\", "/"))):
        yield from dict.fromkeys((separated, normalize("NFC", separated), normalize("NFD", separated)))


def _held(rows: Iterable[Row], columns: ColumnSettings) -> Iterable[tuple[str, str]]:
    for row in rows:
        try:
            cells = row.cells()
            image = image_cell(cells, columns.image)
            if isinstance(image, str) and _is_base64(image):
                yield to_id(lookup(cells, columns.question_id)), image
        except ValueError:
            continue  # said of the row itself, where it is needed


def _is_base64(text: str) -> bool:
    if _DATA_ADDRESS.match(text):
        return True
    try:
        start = base64.b64decode(text[:16], validate=True)
    except ValueError:
        return False
    return len(text) > _LONGEST_REFERENCE and start.startswith(_SIGNATURES)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(_DATA_ADDRESS.sub("", text, count=1).split()), validate=True)
    except ValueError as error:
        raise ValueError(f"holds base64 that is damaged ({error}); {_EXPECTED}") from error
