"""What is known before anything runs: whether there are enough questions, and whether something changed."""

import os
import subprocess
import sys

import pytest
from hub_cache import picture, text_vqa_rows, write_rows

from adamolmo.config.data import DatasetSettings
from adamolmo.data.division import owner
from adamolmo.data.planning import check_dataset
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import SPLITS, draw_samples
from adamolmo.data.tables import table_samples
from adamolmo.errors import AdaMolmoError

TEN = {"importance": 2, "profile": 5, "evaluation": 3}


def table(path, num_rows: int = 10, images_of=lambda number: number):
    """Questions in a CSV file about pictures beside it."""
    (path / "images").mkdir(parents=True, exist_ok=True)
    lines = ["image,question,answers"]
    for number in range(num_rows):
        image = f"images/{images_of(number)}.png"
        (path / image).write_bytes(picture(images_of(number), "PNG"))
        lines.append(f'{image},"how\nmany {number} ?",{number}')
    (path / "mine.csv").write_text("\n".join(lines) + "\n")
    return path / "mine.csv"


def settings(path, source: str = "csv", **splits: str) -> DatasetSettings:
    return DatasetSettings(source=source, path=str(path), splits=splits, style=None, scorer="vqa")


def draw(entry: DatasetSettings, counts: dict[str, int], seed: int) -> dict[str, list[dict]]:
    """The splits as the study draws them: each knows the earlier ones."""
    drawn: dict[str, list[dict]] = {}
    for split in SPLITS:
        earlier = {name: samples_of(found) for name, found in drawn.items()}
        drawn[split] = draw_samples(entry, "mine", split, counts[split], seed, earlier)
    return drawn


def fault(entry: DatasetSettings, counts: dict[str, int] = TEN) -> str:
    with pytest.raises(AdaMolmoError) as error:
        check_dataset(entry, "mine", counts)
    return str(error.value)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counts", [TEN, {"importance": 4, "profile": 1, "evaluation": 5}])
def test_ten_questions_suffice_for_ten_samples(tmp_path, counts, seed):
    """Shares of 1 : 6 : 3 by a hash would leave a split without a picture."""
    entry = settings(table(tmp_path))
    check_dataset(entry, "mine", counts)
    drawn = draw(entry, counts, seed)
    images = [sample["image"] for found in drawn.values() for sample in found]
    assert len(images) == len(set(images)) == 10
    assert draw(entry, counts, seed) == drawn


def test_what_is_taken_of_the_others_are_whole_images(tmp_path):
    """Of which else many would be lost for a question each."""
    entry = settings(table(tmp_path, 60, images_of=lambda number: number % 20))
    images = [sample["image_id"] for sample in table_samples(entry, "mine", "importance", seed=0)]
    mine = sum(owner(image, SPLITS, seed=0) == "importance" for image in images)
    assert len(images) == 60 and all(len(set(images[at : at + 3])) == 1 for at in range(mine, 60, 3))


def test_a_share_that_suffices_is_not_touched_by_what_others_want(tmp_path):
    entry = settings(table(tmp_path, 60))
    few, many = draw(entry, TEN, 0), draw(entry, TEN | {"profile": 15}, 0)
    assert (few["importance"], few["evaluation"]) == (many["importance"], many["evaluation"])
    assert many["profile"][:5] == few["profile"]


def test_too_few_questions(tmp_path):
    entry = settings(table(tmp_path, 9))
    sentence = fault(entry)
    assert "mine.csv has 9 questions about 9 images; expected at least 2 for 'importance' + 5 for" in sentence
    assert "importance : profile : evaluation share the images 1 : 6 : 3, each image with all its questions" in sentence


def test_too_few_images(tmp_path):
    entry = settings(table(tmp_path, 12, images_of=lambda number: number % 2))
    assert "has 12 questions about 2 images; expected at least" in fault(entry)


def test_too_few_questions_of_one_split(tmp_path):
    table(tmp_path / "train", 10)
    table(tmp_path / "test", 2)
    entry = settings(tmp_path, importance="train", profile="train", evaluation="test")
    sentence = fault(entry)
    assert (
        f"split 'test' of {tmp_path} has 2 questions about 2 images; expected at least 3 for 'evaluation', as"
        in sentence
    )
    assert "share" not in sentence
    check_dataset(entry, "mine", TEN | {"evaluation": 2})


def test_too_few_images_are_said_when_they_are_drawn(tmp_path):
    """Two questions about each of five pictures: of a picture that a split has, no other has the second question."""
    entry = settings(table(tmp_path, 10, images_of=lambda number: number // 2))
    check_dataset(entry, "mine", counts := {"importance": 3, "profile": 3, "evaluation": 4})
    with pytest.raises(AdaMolmoError, match=r"there are \d samples for 'evaluation'.*share the images 1 : 6 : 3"):
        draw(entry, counts, 0)


@pytest.mark.parametrize("change", ["table", "picture", "older picture", "another picture named"])
def test_what_is_read_is_watched(tmp_path, change):
    path = table(tmp_path)
    picture_file = tmp_path / "images/3.png"
    before = check_dataset(settings(path), "mine", TEN)
    assert before == check_dataset(settings(path), "mine", TEN)
    if change == "table":
        path.write_text(path.read_text().replace("many", "few"))
    elif change == "another picture named":
        (tmp_path / "images/x.png").write_bytes(picture(99))
        path.write_text(path.read_text().replace("images/3.png", "images/x.png"))
    else:
        picture_file.write_bytes(picture(99, "PNG"))
        if change == "older picture":
            os.utime(picture_file, (1e9, 1e9))
    assert check_dataset(settings(path), "mine", TEN) != before


def test_files_that_nothing_names_are_not_watched(tmp_path):
    path = table(tmp_path)
    before = check_dataset(settings(path), "mine", TEN)
    (tmp_path / "images/other.png").write_bytes(picture(99))
    assert check_dataset(settings(path), "mine", TEN) == before


def test_parquet_is_not_counted(tmp_path):
    write_rows(tmp_path / "mine.parquet", text_vqa_rows(4))
    assert check_dataset(settings(tmp_path, "parquet"), "mine", TEN)


def test_planning_imports_nothing_heavy():
    heavy = "{'torch', 'pandas', 'pyarrow', 'PIL', 'numpy', 'matplotlib'}"
    program = f"import sys, adamolmo.data.planning; assert not {heavy} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
