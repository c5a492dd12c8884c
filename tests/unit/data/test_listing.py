"""Which files a dataset is read from, in the layouts that tools write and people keep."""

import errno
import os
import re

import pytest
from hub_cache import text_vqa_rows, write_rows

from adamolmo.config.data import DatasetSettings
from adamolmo.data.listing import data_files, fingerprint, is_data
from adamolmo.data.sources import draw_samples
from adamolmo.data.tables import table_samples
from adamolmo.errors import AdaMolmoError


def write(path, first: int = 0, count: int = 4):
    write_rows(path, text_vqa_rows(count, first))
    return path


def questions(path, split: str | None = None, **settings) -> list[str]:
    """Of everything that `evaluation` is drawn from."""
    splits = {"importance": "none", "profile": "none", "evaluation": split}
    entry = DatasetSettings(source="parquet", path=str(path), splits=splits, style=None, scorer="vqa", **settings)
    samples = list(table_samples(entry, "mine", "evaluation", seed=0))
    assert len({sample["sample_id"] for sample in samples}) == len(samples)
    return sorted(sample["question"].split()[3] for sample in samples)


FIRST, SECOND = list("0123"), ["10", "11", "12", "13"]


@pytest.mark.parametrize("name", ["mine.parquet", "mine.pq", "mine.PARQUET", "mine", "_mine.data", ".mine.parq"])
def test_one_file_of_any_name(tmp_path, name):
    assert data_files(write(tmp_path / name)) == [tmp_path / name]
    assert questions(tmp_path / name) == FIRST


def test_files_of_a_python_package(tmp_path, monkeypatch):
    (tmp_path / "with_data").mkdir()
    write(tmp_path / "with_data/tables/mine.parquet")
    monkeypatch.syspath_prepend(tmp_path)
    assert questions("tables", package="with_data") == FIRST


@pytest.mark.parametrize("package", ["not_installed", "not.installed", "json.decoder", "a/b", ".json"])
def test_a_package_that_is_not_installed_or_has_no_folder(package):
    with pytest.raises(
        AdaMolmoError, match=f"^datasets.mine.path: lies in Python package '{re.escape(package)}', which"
    ):
        questions("tables", package=package)


@pytest.mark.parametrize("suffix", [".parquet", ".pq", ".parq", ".snappy.parquet"])
def test_a_folder_of_files(tmp_path, suffix):
    write(tmp_path / f"a{suffix}")
    write(tmp_path / f"deep/er/b{suffix}", 10)
    assert questions(tmp_path) == sorted(FIRST + SECOND)


@pytest.mark.parametrize(
    "name",
    [
        ".part.parquet",
        "._mine.parquet",
        ".ipynb_checkpoints/mine.parquet",
        "_temporary/0/part-0.parquet",
        "_metadata",
        "_common_metadata",
        "_SUCCESS",
        "part-0.parquet.crc",
        ".part-0.parquet.crc",
        "part-0.parquet.tmp",
        "README.md",
    ],
)
def test_what_tools_hide_is_no_data(tmp_path, name):
    write(tmp_path / "mine.parquet")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"nothing")
    assert questions(tmp_path) == FIRST and not is_data(name)


@pytest.mark.parametrize(
    "layout",
    [
        "{split}/data.parquet",
        "{split}/0000.parquet",
        "data/{split}-00000-of-00001.parquet",
        "{split}.parquet",
        "{split}.pq",
        "split={split}/part-0.parquet",
        "split={split}/lang=de/part-0.parquet",
        "lang=de/split={split}/part-0.parquet",
        "data/{split}/a/part-0.parquet",
    ],
)
def test_a_split_per_folder_or_name(tmp_path, layout):
    write(tmp_path / layout.format(split="train"))
    write(tmp_path / layout.format(split="val"), 10)
    assert (questions(tmp_path, "train"), questions(tmp_path, "val")) == (FIRST, SECOND)
    assert questions(tmp_path) == sorted(FIRST + SECOND)  # the same file names, but different ids


def test_partitions_of_one_split_belong_together(tmp_path):
    write(tmp_path / "lang=de/split=train/part-0.parquet")
    write(tmp_path / "lang=en/split=train/part-0.parquet", 10)
    assert questions(tmp_path, "train") == sorted(FIRST + SECOND)
    assert questions(tmp_path, "train", config="en") == SECOND


def test_two_suffixes_of_one_name(tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "a.pq", 10)
    assert questions(tmp_path) == sorted(FIRST + SECOND)


def test_links_are_followed(tmp_path):
    write(tmp_path / "elsewhere/0.parquet")
    write(tmp_path / "other.file", 10)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "val.parquet").symlink_to("../other.file")
    assert (questions(folder, "train"), questions(folder, "val")) == (FIRST, SECOND)
    (tmp_path / "link").symlink_to(folder)
    assert questions(tmp_path / "link") == sorted(FIRST + SECOND)


def test_a_file_by_two_links_is_read_once_and_circles_end(tmp_path):
    write(tmp_path / "train/0.parquet")
    (tmp_path / "latest").symlink_to("train", target_is_directory=True)
    (tmp_path / "train/again.parquet").symlink_to("0.parquet")
    (tmp_path / "train/up").symlink_to("..", target_is_directory=True)
    (tmp_path / "train/self").symlink_to(".", target_is_directory=True)
    assert questions(tmp_path) == FIRST
    assert questions(tmp_path, "train") == questions(tmp_path, "latest") == FIRST


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    write(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").symlink_to("nowhere")
    with pytest.raises(AdaMolmoError, match="b.parquet is a link that leads nowhere; expected a Parquet"):
        data_files(tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    """Its files would be missing without a word."""
    write(tmp_path / "a.parquet")
    write(tmp_path / "more/b.parquet")
    scandir = os.scandir

    def forbidden(path):
        if os.fspath(path).endswith("more"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(AdaMolmoError, match="more: cannot be looked into .Permission denied."):
        data_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere", "does not exist"),
        ("empty", "has no Parquet file"),
        ("pipe", "is neither"),
        ("dead", "is a link that leads nowhere"),
        ("circle", "cannot be looked at .Too many levels"),
        ("n" * 300, "cannot be looked at .File name too long"),
    ],
)
def test_no_data_is_one_sentence_with_the_key(tmp_path, name, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "dead").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    entry = DatasetSettings(source="parquet", path=str(tmp_path / name), style=None, scorer="vqa")
    with pytest.raises(AdaMolmoError, match=rf"^datasets.mine.path: .*{name} {sentence}.*; expected"):
        draw_samples(entry, "mine", "profile", 1, seed=0)


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    os.rename(write(tmp_path / "a.parquet"), os.fsencode(folder) + b"/caf\xe9\x1b[2J.parquet")
    entry = DatasetSettings(source="parquet", path=str(folder), style=None, scorer="vqa")
    ids = [sample["sample_id"] for split in ("profile", "evaluation") for sample in table_samples(entry, "m", split, 0)]
    assert ids and all(sample_id.isprintable() and sample_id.startswith("caf") for sample_id in ids)


def test_the_fingerprint_follows_the_content_and_not_the_time(tmp_path):
    path = write(tmp_path / "a.parquet")
    before = fingerprint([path])
    os.utime(path, (1e9, 1e9))
    assert fingerprint([path]) == before
    write(path, 10)
    os.utime(path, (1e9, 1e9))
    assert fingerprint([path]) != before
    assert fingerprint([write(path), write(tmp_path / "b.parquet")]) != before
    (tmp_path / "b.parquet").write_bytes(b"")
    assert fingerprint([tmp_path / "b.parquet"])
