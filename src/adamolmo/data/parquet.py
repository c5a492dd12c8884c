"""Questions from Parquet files: a dataset of the Hugging Face Hub, or files on this machine.

Files and their row groups are read in an order that the seed decides, one row group at a time, until there are enough
questions; so only a few files of a large dataset are downloaded. An image, with all its questions, belongs to one study
split: where study splits read the same split of the dataset, its images are shared out among them by a hash.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from adamolmo.config.data import ColumnSettings, DatasetSettings
from adamolmo.data.hub import Repository
from adamolmo.data.options import with_options
from adamolmo.errors import AdaMolmoError

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
        key = f"datasets.{dataset}.path"
        if settings.source == "hub":
            try:
                repository = Repository.open(settings.path, "dataset")
            except AdaMolmoError as error:
                raise AdaMolmoError(f"{key}: {error}") from error
            names = [name for name in repository.files if name.endswith(".parquet")]
            files = cls(f"{settings.path} at {repository.commit}", names, repository.fetch)
        else:
            path = Path(settings.path)
            if path.is_file():
                files = cls(str(path), [path.name], path.with_name)
            else:
                names = sorted(str(file.relative_to(path)) for file in path.rglob("*.parquet"))
                files = cls(str(path), names, path.joinpath)
        if not files.names:
            raise AdaMolmoError(f"{key}: {files.source} has no Parquet file; expected at least one (*.parquet).")
        return files


def parquet_samples(settings: DatasetSettings, dataset: str, split: str, seed: int) -> Iterator[dict]:
    """The questions of a study split, in an order that the seed decides.

    Raises:
        AdaMolmoError: the dataset cannot be had or read, a split or column is missing, a row has no image or answer.
    """
    files = Files.of(settings, dataset)
    names = _files_of_split(files, settings, dataset, split)
    sharing = [name for name in SHARES if getattr(settings.splits, name) == getattr(settings.splits, split)]
    for name in sorted(names, key=lambda name: _hash(seed, name)):
        path = files.fetch(name)
        for row_number, row in _rows(path, settings.columns, f"datasets.{dataset}.columns", seed):
            try:
                samples = list(_samples_of_row(row, settings.columns, f"{PurePosixPath(name).stem}:{row_number}"))
            except (ValueError, KeyError, TypeError) as error:
                reason = f"no field {error}" if isinstance(error, KeyError) else error
                raise AdaMolmoError(
                    f"datasets.{dataset}: row {row_number} of {files.source}, file {name}: {reason}."
                ) from error
            yield from (sample for sample in samples if _owner(sample["image_id"], sharing, seed) == split)


def _files_of_split(files: Files, settings: DatasetSettings, dataset: str, split: str) -> list[str]:
    """Files of the configured `config` (a folder) and of the dataset's split, as the Hub lays them out:
    `data/train-00000-of-00020.parquet`, `train/0000.parquet` or `train.parquet`."""
    names = [PurePosixPath(name) for name in files.names]
    if settings.config is not None:
        names = [name for name in names if settings.config in name.parts[:-1]]
        if not names:
            raise AdaMolmoError(
                f"datasets.{dataset}.config: {files.source} has no folder '{settings.config}' with Parquet files; "
                f"found {_shown(str(PurePosixPath(name).parent) for name in files.names)}."
            )
    wanted = getattr(settings.splits, split)
    if wanted is not None:
        every = names
        starts = (f"{wanted}-", f"{wanted}.parquet")
        names = [name for name in names if name.name.startswith(starts) or name.parent.name == wanted]
        if not names:
            raise AdaMolmoError(
                f"datasets.{dataset}.splits.{split}: {files.source} has no files of a split '{wanted}'; "
                f"found {_shown(map(str, every))}."
            )
    if len(folders := {name.parent for name in names}) > 1 and settings.config is None and wanted is not None:
        raise AdaMolmoError(
            f"datasets.{dataset}.config: {files.source} has split '{wanted}' in several folders; "
            f"expected one of {_shown(map(str, folders))}."
        )
    return [str(name) for name in names]


def _rows(path: Path, columns: ColumnSettings, key: str, seed: int) -> Iterator[tuple[int, dict]]:
    """(number, row) of one file, its row groups in an order that the seed decides. Raises AdaMolmoError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = _stored_columns(file, columns, key, path)
            starts = [0]
            for group in range(file.num_row_groups):
                starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
            for group in sorted(range(file.num_row_groups), key=lambda group: _hash(seed, path.name, group)):
                number = starts[group]
                for batch in file.iter_batches(_ROWS_AT_ONCE, [group], wanted):
                    for row in batch.to_pylist():
                        yield number, row
                        number += 1
    except (OSError, pa.ArrowException) as error:
        raise AdaMolmoError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())}).") from error


def _stored_columns(file: "ParquetFile", columns: ColumnSettings, key: str, path: Path) -> list[str]:
    """The file's columns that the configured ones are in. Raises AdaMolmoError that names a missing one."""
    found = file.schema_arrow.names
    wanted = {}
    for role, name in columns.model_dump().items():
        if name is not None:
            wanted[name.split(".")[0]] = None
            if name.split(".")[0] not in found:
                raise AdaMolmoError(f"{key}.{role}: {path.name} has no column '{name}'; found {', '.join(found)}.")
    return list(wanted)


def _samples_of_row(row: dict, columns: ColumnSettings, row_id: str) -> Iterator[dict]:
    """One sample, or one for each entry of the list that the question is a field of (`qas.question`).

    Raises ValueError that says what the row lacks.
    """
    image = _image_bytes(_lookup(row, columns.image))
    image_id = _lookup(row, columns.image_id) if columns.image_id else hashlib.sha256(image).hexdigest()[:16]
    parent, _, _ = columns.question.rpartition(".")
    entries = row[parent] if parent else [None]
    for number, entry in enumerate(entries):
        fields = {**row, parent: entry} if parent else row
        default_id = f"{row_id}-{number}" if parent else row_id
        yield {
            "sample_id": str(_lookup(fields, columns.question_id)) if columns.question_id else default_id,
            "image_id": str(image_id),
            "image": image,
            "question": _question(fields, columns),
            "answers": _answers(fields, columns),
        }


def _question(fields: dict, columns: ColumnSettings) -> str:
    question = _lookup(fields, columns.question)
    if not question:
        raise ValueError(f"column '{columns.question}' is empty; expected a question")
    context = _lookup(fields, columns.context) if columns.context else None
    options = _lookup(fields, columns.options) if columns.options else []
    return with_options(f"{context}\n{question}" if context else question, options)


def _answers(fields: dict, columns: ColumnSettings) -> list[str]:
    found = _lookup(fields, columns.answers)
    answers = [answer for answer in (found if isinstance(found, list) else [found]) if answer is not None]
    if not answers:
        raise ValueError(f"column '{columns.answers}' is empty; expected answers, which a test split may not have")
    if not columns.options:
        return [str(answer) for answer in answers]
    options = _lookup(fields, columns.options)
    if any(not isinstance(index, int) or not 0 <= index < len(options) for index in answers):
        raise ValueError(
            f"column '{columns.answers}' is {found!r}; expected the number of one of {len(options)} options"
        )
    return [text for index in answers for text in (ascii_uppercase[index], options[index])]


def _lookup(fields: dict, path: str) -> Any:
    """A column's value, or that of a field in it; through a list, the list of the entries' values."""
    value: Any = fields
    for key in path.split("."):
        value = [entry[key] for entry in value] if isinstance(value, list) else value[key]
    return value


def _image_bytes(value: Any) -> bytes:
    """Of the Hub's image type {bytes, path}, or of a plain column of bytes."""
    image = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(image, bytes):
        raise ValueError(f"the image is {type(image).__name__}; expected the bytes of an image file")
    return image


def _owner(image_id: str, sharing: Sequence[str], seed: int) -> str:
    """The one study split of `sharing` that an image belongs to."""
    point = _hash(seed, image_id) % sum(SHARES[split] for split in sharing)
    for split in sharing:
        if point < SHARES[split]:
            return split
        point -= SHARES[split]
    raise AssertionError("the point lies below the sum of the shares")


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def _shown(names: Iterator[str], limit: int = 6) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:limit]) + (", ..." if len(distinct) > limit else "")
