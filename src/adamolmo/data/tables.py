"""The questions of a study split, from the tables of a dataset: of the Hugging Face Hub, or files on this machine.

Files, and rows in them, are read in an order that the seed decides, until there are enough questions; so only a few
files of a large dataset are downloaded. An image, with all its questions, belongs to one study split (`division`).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adamolmo.config.data import DatasetSettings
from adamolmo.data.columnar import arrow_rows, parquet_rows
from adamolmo.data.conversion import to_image
from adamolmo.data.division import owner, seeded_hash, sharing_with
from adamolmo.data.image_files import ImageFiles
from adamolmo.data.rows import Row, image_cell, samples_of_row
from adamolmo.data.scoring import SCORERS
from adamolmo.data.split_files import Files, files_of_split
from adamolmo.data.text_tables import text_rows
from adamolmo.errors import AdaMolmoError, printable


def table_samples(settings: DatasetSettings, dataset: str, split: str, seed: int) -> Iterator[dict]:
    """The questions of a study split, in an order that the seed decides: those of its share, then, for a share that
    does not suffice, those of the others', of which the caller leaves out what they have.

    Raises:
        AdaMolmoError: the dataset cannot be had or read, a split or column is missing, a row has no image or answer.
    """
    files = Files.of(settings, dataset)
    names = sorted(files_of_split(files, settings, dataset, split), key=lambda name: seeded_hash(seed, name))
    sharing = sharing_with(settings, split)
    for own in (True, False) if len(sharing) > 1 else (True,):
        for sample in _samples(files, names, settings, dataset, seed, scattered=own):
            if (owner(sample["image_id"], sharing, seed) == split) is own:
                yield sample


def _samples(
    files: Files, names: list[str], settings: DatasetSettings, dataset: str, seed: int, scattered: bool
) -> Iterator[dict]:
    read = set()
    for name in names:
        path = files.fetch(name)
        if (real := os.path.realpath(path)) in read:
            continue  # the same file by another link
        read.add(real)
        rows, load_image = _table(path, files, settings, f"datasets.{dataset}.columns", seed, scattered)
        shown_name = printable(name.removesuffix(".parquet"))
        for row in rows:
            try:
                row_id = f"{shown_name}:{row.number}"
                for sample in samples_of_row(row.cells(), settings.columns, row_id, load_image):
                    _check_scorable(sample["answers"], settings)
                    yield sample
            except ValueError as error:
                raise AdaMolmoError(
                    f"datasets.{dataset}: {row.place} of {files.source}, file {name}: {error}."
                ) from error


def _check_scorable(answers: list[str], settings: DatasetSettings) -> None:
    """Now, instead of in the middle of the profile. Raises ValueError."""
    try:
        SCORERS[settings.scorer]("", answers)
    except AdaMolmoError as error:
        raise ValueError(f"column '{settings.columns.answers}': {str(error).rstrip('.')}") from error


def _table(
    path: Path, files: Files, settings: DatasetSettings, key: str, seed: int, scattered: bool
) -> tuple[Iterator[Row], Callable[..., bytes]]:
    """The rows of a file, and what loads their images.

    Args:
        scattered: rows of a text table come in any order, so that a few questions are about many images; else those
            about one image come together, so that few images are taken from other splits.
    """
    columns = settings.columns
    if settings.source in ("hub", "parquet"):
        return parquet_rows(path, columns, key, seed), to_image
    if settings.source == "arrow":
        return arrow_rows(path, columns, key, seed), to_image
    rows = list(text_rows(path, settings.source, columns, key))
    load_image = ImageFiles.of_table(path, files.folder, rows, columns).load
    drawn_by = (lambda row: row.number) if scattered else (lambda row: _image(row, columns.image))
    return iter(sorted(rows, key=lambda row: seeded_hash(seed, path.name, drawn_by(row)))), load_image


def _image(row: Row, column: str) -> Any:
    try:
        return image_cell(row.cells(), column)
    except ValueError:  # the images of several questions
        return None
