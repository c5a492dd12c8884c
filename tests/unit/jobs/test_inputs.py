"""What the configuration names on this machine: refused when it is not there, and known again by its content."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from adamolmo.config import StudyConfig
from adamolmo.config.files import merge
from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.inputs import identity, input_files, is_on_hub

CONFIG = Path(__file__).parents[3] / "config.yaml"
MINE = {"source": "parquet", "style": None, "scorer": "vqa"}


def study(**override) -> StudyConfig:
    return StudyConfig.from_dict(merge(yaml.safe_load(CONFIG.read_text()), override), {})


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "README.md"):
        (directory / name).write_bytes(os.urandom(100_000))
    return directory


def test_the_files_of_every_input_are_found(checkpoint, tmp_path):
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / "data/train/0.parquet").touch()
    found = input_files(
        study(
            model={"checkpoint": "checkpoint"},
            datasets={"mine": MINE | {"path": str(tmp_path / "data")}},
            training={"mobilevit": {"checkpoint": str(checkpoint)}},
        ),
        tmp_path,
    )
    assert {key: [path.name for path in files()] for key, files in found.items()} == {
        "model.checkpoint": ["config.json", "model.safetensors", "tokenizer.json"],
        "training.mobilevit.checkpoint": ["README.md", "config.json", "model.safetensors", "tokenizer.json"],
        "datasets.mine.path": ["0.parquet"],
        "datasets.easy_vqa.path": ["questions.json", "questions.json"],
    }


def test_what_is_on_the_hub_is_no_file_of_this_machine(tmp_path):
    hub = study(
        model={"checkpoint": "owner/name"},
        training={"mobilevit": {"checkpoint": "owner/name"}},
        datasets={"easy_vqa": None},
    )
    assert input_files(hub, tmp_path) == {}
    assert is_on_hub("owner/name", tmp_path)
    (tmp_path / "owner/name").mkdir(parents=True)
    assert not is_on_hub("owner/name", tmp_path)


@pytest.mark.parametrize(
    ("key", "override", "sentence"),
    [
        ("model.checkpoint", {"model": {"checkpoint": "/nowhere"}}, "/nowhere does not exist; expected a directory"),
        ("model.checkpoint", {"model": {"checkpoint": "file"}}, "file is no directory; expected a directory"),
        ("model.checkpoint", {"model": {"checkpoint": "no_config"}}, "no_config has no config.json; expected"),
        ("model.checkpoint", {"model": {"checkpoint": "no_tokenizer"}}, "has no tokenizer.json; expected"),
        ("model.checkpoint", {"model": {"checkpoint": "no_weights"}}, "has no *.safetensors; expected"),
        ("training.mobilevit.checkpoint", {"training": {"mobilevit": {"checkpoint": "/x/y/z"}}}, "/x/y/z does not"),
        ("datasets.mine.path", {"datasets": {"mine": MINE | {"path": "/mistyped.parquet"}}}, "does not exist; expec"),
        ("datasets.mine.path", {"datasets": {"mine": MINE | {"path": "{root}/empty"}}}, "has no Parquet file; expec"),
    ],
)
def test_an_input_that_is_not_there_is_one_sentence(checkpoint, tmp_path, key, override, sentence):
    for missing, name in (("config", "config.json"), ("tokenizer", "tokenizer.json"), ("weights", "model.safetensors")):
        copy = shutil.copytree(checkpoint, tmp_path / f"no_{missing}")
        (copy / name).unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    filled = yaml.safe_load(yaml.safe_dump(override).replace("{root}", str(tmp_path)))
    with pytest.raises(AdaMolmoError) as error:
        input_files(study(**filled), tmp_path)[key]()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_other_content_of_the_same_size_and_time_is_noticed(checkpoint):
    files = sorted(checkpoint.iterdir())
    before = identity(files)
    path, stat = files[1], files[1].stat()
    path.write_bytes(os.urandom(100_000))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identity(files) != before


@pytest.mark.parametrize("change", ["append", "rename", "first byte", "last byte"])
def test_every_small_change_at_an_end_is_noticed_and_a_touch_is_none(checkpoint, change):
    path = checkpoint / "model.safetensors"
    before, content = identity([path]), bytearray(path.read_bytes())
    os.utime(path)
    assert identity([path]) == before
    content[0] ^= change == "first byte"
    content[-1] ^= change == "last byte"
    path.write_bytes(content + b"x" * (change == "append"))
    path = path.rename(path.with_name("other")) if change == "rename" else path
    assert identity([path]) != before


def test_the_size_of_an_input_hardly_matters(tmp_path):
    """A checkpoint of gigabytes is read at a few places."""
    path = tmp_path / "large.safetensors"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    assert identity([path]) == identity([path])


def test_an_unreadable_input_is_one_sentence(tmp_path):
    with pytest.raises(AdaMolmoError, match=r"gone cannot be read \(No such file or directory\)"):
        identity([tmp_path / "gone"])
