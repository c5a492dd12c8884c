"""What is known of a dataset on this machine before anything runs: what its files are, and whether they suffice.

Snakemake's own process asks, so nothing heavy is imported. Text tables are read, as far as they are not too large: rows
are counted, and pictures that they name looked at, but not opened.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adamolmo.config.data import TEXT_SOURCES, DatasetSettings
from adamolmo.data.division import SHARES, explained, sharing_with
from adamolmo.data.image_files import ImageFiles
from adamolmo.data.listing import fingerprint
from adamolmo.data.rows import Row, image_cell, questions_of_row
from adamolmo.data.split_files import Files, files_of_split
from adamolmo.data.text_tables import text_rows
from adamolmo.errors import AdaMolmoError, no_file

LARGEST_TABLE_BYTES = 256 << 20  # of those that are read when planning


@dataclass(frozen=True)
class _Table:
    """What a text table says: how many questions about which images, and the files of those that it does not hold."""

    num_questions: int
    images: frozenset[str]
    pictures: Mapping[Path, str]  # file -> the first place that names it


def check_dataset(settings: DatasetSettings, dataset: str, wanted: Mapping[str, int]) -> str:
    """What changes with the dataset's tables, and with the pictures that text tables name; nothing, for a dataset that
    is drawn or comes from the Hub.

    Args:
        wanted: by study split, how many samples it shall have.

    Raises AdaMolmoError: there are no files, a text table cannot be read, has too few questions or names pictures that
        do not exist.
    """
    if settings.source in ("procedural", "hub"):
        return ""
    files = Files.of(settings, dataset)
    paths = {name: files.fetch(name) for name in files.names}
    content = fingerprint(list(paths.values()), settings.source)
    if settings.source in TEXT_SOURCES and all(path.stat().st_size <= LARGEST_TABLE_BYTES for path in paths.values()):
        used = {name for split in SHARES for name in files_of_split(files, settings, dataset, split)}
        tables = {name: _read(paths[name], files, settings, dataset) for name in sorted(used)}
        _check_enough(tables, files, settings, dataset, wanted)
        pictures = sorted({path for table in tables.values() for path in table.pictures})
        content = hashlib.sha256(f"{content}{fingerprint(pictures, settings.source)}".encode()).hexdigest()[:16]
    return content


def _read(path: Path, files: Files, settings: DatasetSettings, dataset: str) -> _Table:
    rows = list(text_rows(path, settings.source, settings.columns, f"datasets.{dataset}.columns"))
    finder = ImageFiles.of_table(path, files.folder, rows, settings.columns)
    num_questions, images, pictures = 0, set(), {}
    for row in rows:
        try:
            for image, picture in _images_of_row(row, settings, finder):
                num_questions += 1
                images.add(image)
                if picture is not None:
                    pictures.setdefault(picture, row.place)
        except ValueError as error:
            raise AdaMolmoError(f"datasets.{dataset}: {row.place} of {path}: {error}.") from error
    missing = [picture for picture in pictures if not os.path.isfile(picture)]
    if missing:
        raise AdaMolmoError(
            f"datasets.{dataset}: {len(missing)} of {len(pictures)} pictures that {path} names are not there; the "
            f"first, in {pictures[missing[0]]}, {no_file(missing[0])}: {missing[0]!s:.200}."
        )
    return _Table(num_questions, frozenset(images), pictures)


def _images_of_row(row: Row, settings: DatasetSettings, finder: ImageFiles) -> Iterable[tuple[str, Path | None]]:
    """(what tells the image from others, its file if it has one) for every question. Raises ValueError."""
    column = settings.columns.image
    for _, fields in questions_of_row(row.cells(), settings.columns.question):
        try:
            cell = image_cell(fields, column)
            path = finder.path(cell)
        except ValueError as error:
            raise ValueError(f"column '{column}' {error}") from error
        yield str(cell if path is None else path), path


def _check_enough(
    tables: Mapping[str, _Table], files: Files, settings: DatasetSettings, dataset: str, wanted: Mapping[str, int]
) -> None:
    for sharing in {tuple(sharing_with(settings, split)) for split in SHARES}:
        of_split = [tables[name] for name in files_of_split(files, settings, dataset, sharing[0])]
        num_questions = sum(table.num_questions for table in of_split)
        num_images = len(frozenset().union(*(table.images for table in of_split)))
        needed = sum(wanted[split] for split in sharing)
        if num_questions < needed or num_images < len(sharing):
            name = getattr(settings.splits, sharing[0])
            what = f"split '{name}' of {files.source}" if name else files.source
            counts = " + ".join(f"{wanted[split]} for '{split}'" for split in sharing)
            raise AdaMolmoError(
                f"datasets.{dataset}: {what} has {num_questions} questions about {num_images} images; expected at "
                f"least {counts}, as samples and datasets.{dataset}.samples say{explained(sharing)}."
            )
