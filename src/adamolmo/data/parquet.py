"""Questions from Parquet files: a dataset of the Hugging Face Hub, or files on this machine.

Files and their row groups are read in an order that the seed decides, one row group at a time, until there are enough
questions; so only a few files of a large dataset are downloaded. An image, with all its questions, belongs to one study
split: where study splits read the same split of the dataset, its images are shared out among them by a hash.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from adamolmo.config.data import ColumnSettings, DatasetSettings
from adamolmo.data.conversion import not_utf8
from adamolmo.data.hub import Repository
from adamolmo.data.listing import data_files, is_data
from adamolmo.data.rows import samples_of_row
from adamolmo.errors import AdaMolmoError, printable

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

# Shares of the images, where study splits read the same split of a dataset.
SHARES = {"importance": 1, "profile": 6, "evaluation": 3}
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Files:
    """The Parquet files of a dataset: their names, how one comes to this machine, and what an error calls them."""

    source: str
    names: Sequence[str]
    fetch: Callable[[str], Path]

    @classmethod
    def of(cls, settings: DatasetSettings, dataset: str) -> "Files":
        """Raises AdaMolmoError that names the dataset's key."""
        try:
            return cls._of_hub(settings.path) if settings.source == "hub" else cls._of_machine(Path(settings.path))
        except AdaMolmoError as error:
            raise AdaMolmoError(f"datasets.{dataset}.path: {error}") from error

    @classmethod
    def _of_hub(cls, name: str) -> "Files":
        repository = Repository.open(name, "dataset")
        files = cls(f"{name} at {repository.commit}", list(filter(is_data, repository.files)), repository.fetch)
        if not files.names:
            raise AdaMolmoError(f"{files.source} has no Parquet file; expected at least one (*.parquet).")
        return files

    @classmethod
    def _of_machine(cls, path: Path) -> "Files":
        folder = path.parent if path.is_file() else path
        names = [file.relative_to(folder).as_posix() for file in data_files(path)]
        return cls(str(path), names, folder.joinpath)


def parquet_samples(settings: DatasetSettings, dataset: str, split: str, seed: int) -> Iterator[dict]:
    """The questions of a study split, in an order that the seed decides.

    Raises:
        AdaMolmoError: the dataset cannot be had or read, a split or column is missing, a row has no image or answer.
    """
    files = Files.of(settings, dataset)
    names = _files_of_split(files, settings, dataset, split)
    sharing = [name for name in SHARES if getattr(settings.splits, name) == getattr(settings.splits, split)]
    read = set()
    for name in sorted(names, key=lambda name: _hash(seed, name)):
        path = files.fetch(name)
        if (real := os.path.realpath(path)) in read:
            continue  # the same file by another link
        read.add(real)
        for row_number, cells in _rows(path, settings.columns, f"datasets.{dataset}.columns", seed):
            try:
                samples = list(
                    samples_of_row(
                        _row(cells), settings.columns, f"{printable(name.removesuffix('.parquet'))}:{row_number}"
                    )
                )
            except ValueError as error:
                raise AdaMolmoError(
                    f"datasets.{dataset}: row {row_number} of {files.source}, file {name}: {error}."
                ) from error
            yield from (sample for sample in samples if _owner(sample["image_id"], sharing, seed) == split)


def _files_of_split(files: Files, settings: DatasetSettings, dataset: str, split: str) -> list[str]:
    """Files of the configured `config` (a folder) and of the dataset's split, as the Hub and other tools lay them out:
    `data/train-00000-of-00020.parquet`, `train/0000.parquet`, `train.parquet` or `split=train/part-0.parquet`."""
    names = [PurePosixPath(name) for name in files.names]
    if settings.config is not None:
        names = [name for name in names if settings.config in map(_folder_name, name.parts[:-1])]
        if not names:
            raise AdaMolmoError(
                f"datasets.{dataset}.config: {files.source} has no folder '{settings.config}' with Parquet files; "
                f"found {_shown(str(PurePosixPath(name).parent) for name in files.names)}."
            )
    wanted = getattr(settings.splits, split)
    if wanted is None:
        return [str(name) for name in names]
    homes = {name: home for name in names if (home := _home(name, wanted)) is not None}
    if not homes:
        raise AdaMolmoError(
            f"datasets.{dataset}.splits.{split}: {files.source} has no files of a split '{wanted}'; "
            f"found {_shown(map(str, names))}."
        )
    if len(folders := set(homes.values())) > 1 and settings.config is None:
        raise AdaMolmoError(
            f"datasets.{dataset}.config: {files.source} has split '{wanted}' in several folders; "
            f"expected one of {_shown(folders)}."
        )
    return [str(name) for name in homes]


def _home(name: PurePosixPath, split: str) -> str | None:
    """The folder that holds the split which a file belongs to, without partitions ("lang=de"); None for other files."""
    folders = list(map(_folder_name, name.parts[:-1]))
    if split in folders:
        parents = name.parts[: folders.index(split)]
    elif name.name.startswith((f"{split}-", f"{split}.")):
        parents = name.parts[:-1]
    else:
        return None
    return str(PurePosixPath(*(part for part in parents if "=" not in part)))


def _folder_name(part: str) -> str:
    """Of a folder, or of a partition the value: "train" of "split=train"."""
    return part.rpartition("=")[2]


def _rows(path: Path, columns: ColumnSettings, key: str, seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, cells by column) of one file, its row groups in an order that the seed decides. Raises AdaMolmoError."""
    import pyarrow.parquet as pq

    try:
        # Opened here: pyarrow would take some names for addresses, and knows none that are not UTF-8.
        with path.open("rb") as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
            wanted = _stored_columns(file, columns, key, path)
            starts = [0]
            for group in range(file.num_row_groups):
                starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
            for group in sorted(range(file.num_row_groups), key=lambda group: _hash(seed, path.name, group)):
                number = starts[group]
                for batch in file.iter_batches(_ROWS_AT_ONCE, [group], wanted):
                    for index in range(batch.num_rows):
                        yield number, {name: batch.column(name)[index] for name in wanted}
                        number += 1
    except AdaMolmoError:
        raise
    except Exception as error:  # of a damaged file: anything from OSError to UnicodeDecodeError
        reason = " ".join(str(error).split()).rstrip(".")
        raise AdaMolmoError(f"{path}: cannot be read as Parquet ({reason:.300}).") from error


def _row(cells: dict[str, Any]) -> dict[str, Any]:
    """Python values of a row's cells. Raises ValueError for one that has none."""
    row = {}
    for name, cell in cells.items():
        try:
            row[name] = cell.as_py()
        except UnicodeDecodeError as error:
            raise ValueError(f"column '{name}' {not_utf8(error)}; expected UTF-8") from error
        except Exception as error:  # of types without a Python value
            raise ValueError(f"column '{name}' is of type {cell.type}, which cannot be used ({error})") from error
    return row


def _stored_columns(file: "ParquetFile", columns: ColumnSettings, key: str, path: Path) -> list[str]:
    """The file's columns that the configured ones are in. Raises AdaMolmoError that names a missing one."""
    found = file.schema_arrow.names
    wanted = {}
    for role, name in columns.model_dump().items():
        if name is not None:
            column = name if name in found else name.split(".")[0]
            if found.count(column) != 1:
                times = f"has {found.count(column)} columns" if column in found else "has no column"
                raise AdaMolmoError(f"{key}.{role}: {path.name} {times} '{name}'; found {', '.join(found)}.")
            wanted[column] = None
    return list(wanted)


def _owner(image_id: str, sharing: Sequence[str], seed: int) -> str:
    """The one study split of `sharing` that an image belongs to."""
    point = _hash(seed, image_id) % sum(SHARES[split] for split in sharing)
    for split in sharing:
        if point < SHARES[split]:
            return split
        point -= SHARES[split]
    raise AssertionError("the point lies below the sum of the shares")


def _hash(*parts: object) -> int:
    return int.from_bytes(
        hashlib.sha256("/".join(map(str, parts)).encode(errors="surrogateescape")).digest()[:8], "big"
    )


def _shown(names: Iterator[str], limit: int = 6) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:limit]) + (", ..." if len(distinct) > limit else "")
