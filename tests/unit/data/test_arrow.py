"""Folders as `save_to_disk` of datasets writes them: Arrow streams, images embedded, and what it caches beside them."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hub_cache import IMAGE_TYPE, image_entry, picture

from adamolmo.config.data import DatasetSettings
from adamolmo.data.listing import data_files, fingerprint
from adamolmo.data.sources import draw_samples
from adamolmo.errors import AdaMolmoError

ROWS_AT_ONCE = 4


def arrow_table(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    images = pa.array([image_entry(number) for number in numbers], IMAGE_TYPE)
    questions = [f"what is {number} ?" for number in numbers]
    return pa.table({"image": images, "question": questions, "answers": [["red"]] * count, "id": list(numbers)})


def save(folder: Path, first: int = 0, count: int = 10, shards: int = 1) -> Path:
    """A `Dataset` that was saved to disk."""
    folder.mkdir(parents=True)
    names = [f"data-{shard:05d}-of-{shards:05d}.arrow" for shard in range(shards)]
    for shard, name in enumerate(names):
        table = arrow_table(first + shard * count, count)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=ROWS_AT_ONCE)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def settings(path: Path, **splits: str) -> DatasetSettings:
    splits = {"importance": "another", "profile": "another"} | splits
    columns = {"question_id": "id"}
    return DatasetSettings(source="arrow", path=str(path), splits=splits, columns=columns, style=None, scorer="vqa")


def drawn(entry: DatasetSettings, count: int) -> list[dict]:
    return sorted(draw_samples(entry, "mine", "evaluation", count, seed=0), key=lambda s: int(s["sample_id"]))


def test_a_saved_dataset(tmp_path):
    found = drawn(settings(save(tmp_path / "saved", shards=2)), 20)
    assert [sample["question"] for sample in found] == [f"what is {number} ?" for number in range(20)]
    assert [sample["image"] for sample in found] == [picture(number) for number in range(20)]


def test_the_folders_of_a_saved_dataset_dict_are_splits(tmp_path):
    save(tmp_path / "train")
    save(tmp_path / "test", first=100)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert {int(sample["sample_id"]) for sample in drawn(settings(tmp_path, evaluation="test"), 10)} == {
        *range(100, 110)
    }


@pytest.mark.parametrize("state", [True, False])
def test_what_datasets_caches_beside_the_data_is_none(tmp_path, state):
    saved = save(tmp_path / "saved")
    (saved / "cache-0123456789abcdef.arrow").write_bytes((saved / "data-00000-of-00001.arrow").read_bytes())
    if not state:
        (saved / "state.json").unlink()
    assert data_files(saved, "arrow") == [saved / "data-00000-of-00001.arrow"]


def test_one_arrow_file(tmp_path):
    with pa.OSFile(str(tmp_path / "mine.arrow"), "wb") as file, pa.ipc.new_file(file, arrow_table(0, 1).schema) as out:
        out.write_table(arrow_table(0, 3))
    assert len(drawn(settings(tmp_path / "mine.arrow"), 3)) == 3


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]), "cannot be read as Arrow ("),
        (lambda file: file.write_bytes(b"nothing"), "cannot be read as Arrow ("),
        (lambda file: file.with_name("state.json").write_text("[]"), "state.json: cannot be read; expected it as"),
        (lambda file: file.unlink(), "has no Arrow file; expected at least one (.arrow)"),
    ],
)
def test_a_damaged_folder(tmp_path, damage, sentence):
    damage(save(tmp_path / "mine") / "data-00000-of-00001.arrow")
    with pytest.raises(AdaMolmoError) as error:
        drawn(settings(tmp_path / "mine"), 1)
    assert sentence in str(error.value)


def test_a_missing_column(tmp_path):
    entry = DatasetSettings(
        source="arrow", path=str(save(tmp_path / "saved")), columns={"answers": "label"}, style=None, scorer="vqa"
    )
    with pytest.raises(AdaMolmoError, match="columns.answers: data-.* has no column 'label'; found image, question"):
        draw_samples(entry, "mine", "profile", 1, seed=0)


def test_a_replaced_file_is_noticed(tmp_path):
    files = data_files(save(tmp_path / "a"), "arrow")
    before = fingerprint(files, "arrow")
    files[0].write_bytes(files[0].read_bytes())
    assert fingerprint(files, "arrow") != before
