"""Which of a dataset's files hold one of its splits, as the Hub and other tools lay them out."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adamolmo.config.data import DatasetSettings
from adamolmo.data.hub import Repository
from adamolmo.data.listing import data_files, is_data, place
from adamolmo.errors import AdaMolmoError


@dataclass(frozen=True)
class Files:
    """The files of a dataset: their names, how one comes to this machine, and what an error calls them.

    Attributes:
        folder: that the names are seen from; None for the Hub.
    """

    source: str
    names: Sequence[str]
    fetch: Callable[[str], Path]
    folder: Path | None = None

    @classmethod
    def of(cls, settings: DatasetSettings, dataset: str) -> "Files":
        """Raises AdaMolmoError that names the dataset's key."""
        try:
            if settings.source == "hub":
                return cls._of_hub(settings.path)
            return cls._of_machine(place(settings), settings.source)
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
    def _of_machine(cls, path: Path, source: str) -> "Files":
        folder = path.parent if os.path.isfile(path) else path
        names = [file.relative_to(folder).as_posix() for file in data_files(path, source)]
        return cls(str(path), names, folder.joinpath, folder)


def files_of_split(files: Files, settings: DatasetSettings, dataset: str, split: str) -> list[str]:
    """Files of the configured `config` (a folder) and of the dataset's split that a study split is drawn from:
    `data/train-00000-of-00020.parquet`, `train/0000.parquet`, `train.parquet` or `split=train/part-0.parquet`."""
    names = [PurePosixPath(name) for name in files.names]
    if settings.config is not None:
        names = [name for name in names if settings.config in map(_folder_name, name.parts[:-1])]
        if not names:
            raise AdaMolmoError(
                f"datasets.{dataset}.config: {files.source} has no folder '{settings.config}' with data files; "
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


def _shown(names: Iterable[str], limit: int = 6) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:limit]) + (", ..." if len(distinct) > limit else "")
