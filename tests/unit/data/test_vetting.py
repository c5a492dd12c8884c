"""What holds between samples: no picture in two splits, ids of their own; and what is said about them."""

import io

import numpy as np
import pytest
from hub_cache import picture, write_rows
from PIL import Image

from adamolmo.config.data import DatasetSettings
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import SPLITS, draw_samples
from adamolmo.errors import AdaMolmoError


def file_of(pixels: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=file_format, **options)
    return file.getvalue()


def again(image: bytes, file_format: str, **options) -> bytes:
    """The same picture in another file."""
    file = io.BytesIO()
    Image.open(io.BytesIO(image)).save(file, format=file_format, **options)
    return file.getvalue()


def rows(images: list[bytes], **cells) -> list[dict]:
    usual = {"question": "why ?", "answers": ["red"]}
    return [
        usual | {"image": {"bytes": image, "path": None}} | {name: values[n] for name, values in cells.items()}
        for n, image in enumerate(images)
    ]


def settings(path, columns: dict | None = None, **splits) -> DatasetSettings:
    return DatasetSettings(
        source="parquet", path=str(path), splits=splits, columns=columns or {}, style=None, scorer="vqa"
    )


def draw(entry: DatasetSettings, **counts) -> dict[str, list[dict]]:
    """The splits as the study draws them: each knows the earlier ones."""
    drawn: dict[str, list[dict]] = {}
    for split in SPLITS:
        if split in counts:
            earlier = {name: samples_of(samples) for name, samples in drawn.items()}
            drawn[split] = draw_samples(entry, "mine", split, counts[split], 0, earlier)
    return drawn


COPIES = {
    "the same file": lambda image: image,
    "another format": lambda image: again(image, "BMP"),
    "other metadata": lambda image: again(image, "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_two_files_with_the_same_pictures(tmp_path, copy, capsys):
    images = [picture(number, "PNG") for number in range(20)]
    others = [picture(number, "PNG") for number in range(100, 105)]
    write_rows(tmp_path / "train.parquet", rows(images, image_id=[f"t{n}" for n in range(20)]))
    copies = [COPIES[copy](image) for image in images]
    write_rows(tmp_path / "val.parquet", rows(copies + others, image_id=[f"v{n}" for n in range(25)]))
    entry = settings(tmp_path, {"image_id": "image_id"}, importance="train", profile="train", evaluation="val")
    drawn = draw(entry, profile=12, evaluation=13)
    profiled = {sample["image_id"][1:] for sample in drawn["profile"]}
    evaluated = {sample["image_id"][1:] for sample in drawn["evaluation"]}
    assert len(profiled) == 12 and len(evaluated) == 13 and not profiled & evaluated
    assert "split 'evaluation': left out were 12 whose picture 'profile' has" in capsys.readouterr().err


def test_one_picture_under_two_ids_in_one_file(tmp_path):
    images = [picture(number // 2) for number in range(60)]
    write_rows(tmp_path / "all.parquet", rows(images, image_id=list(range(60))))
    drawn = draw(settings(tmp_path / "all.parquet", {"image_id": "image_id"}), importance=2, profile=20, evaluation=4)
    pictures = [{sample["image"] for sample in samples} for samples in drawn.values()]
    assert len(set.union(*pictures)) == sum(map(len, pictures))


def test_unreadable_pictures_are_compared_by_their_bytes(tmp_path):
    write_rows(tmp_path / "train.parquet", rows([b"no image"]))
    write_rows(tmp_path / "val.parquet", rows([b"no image", b"none either"]))
    drawn = draw(settings(tmp_path, profile="train", evaluation="val"), profile=1, evaluation=1)
    assert [sample["image"] for sample in drawn["evaluation"]] == [b"none either"]


def test_too_few_pictures_are_left(tmp_path):
    write_rows(tmp_path / "train.parquet", rows([picture(number) for number in range(4)]))
    write_rows(tmp_path / "val.parquet", rows([picture(number) for number in range(5)]))
    sentence = (
        r"there are 1 samples for 'evaluation' \(left out were 4 whose picture 'profile' has\), expected "
        r"samples.evaluation = 2\."
    )
    with pytest.raises(AdaMolmoError, match=sentence):
        draw(settings(tmp_path, profile="train", evaluation="val"), profile=4, evaluation=2)


@pytest.mark.parametrize(
    ("role", "values", "sentence"),
    [
        ("question_id", [1, 1, 2], "two questions have the id '1'; expected each once, or columns.question_id: null."),
        ("question_id", ["1", "3", "1"], "two questions have the id '1'"),
        (
            "image_id",
            [1, 1, 2],
            "two different pictures have the id '1'; expected one each, or columns.image_id: null.",
        ),
    ],
)
def test_ids_that_collide(tmp_path, role, values, sentence):
    write_rows(tmp_path / "mine.parquet", rows([picture(number) for number in range(3)], id=values))
    entry = settings(tmp_path / "mine.parquet", {role: "id"}, importance="x", profile="x")
    with pytest.raises(AdaMolmoError) as error:
        draw(entry, evaluation=3)
    assert f"datasets.mine, split 'evaluation': {sentence}" in str(error.value)


def test_questions_about_one_picture_share_its_id(tmp_path):
    write_rows(tmp_path / "mine.parquet", rows([picture(0)] * 3, id=["a"] * 3))
    entry = settings(tmp_path / "mine.parquet", {"image_id": "id"}, importance="x", profile="x")
    assert len(draw(entry, evaluation=3)["evaluation"]) == 3


def test_transparent_pictures_are_counted_in_one_warning(tmp_path, capsys):
    clear = np.full((4, 6, 4), 100, np.uint8)
    opaque = clear.copy()
    opaque[:, :, 3] = 255
    images = [file_of(clear), file_of(clear), file_of(clear // 2), file_of(opaque), picture(0)]
    write_rows(tmp_path / "mine.parquet", rows(images))
    draw(settings(tmp_path / "mine.parquet", importance="x", profile="x"), evaluation=5)
    lines = [line for line in capsys.readouterr().err.splitlines() if "transparent" in line]
    assert len(lines) == 1 and "split 'evaluation': 2 pictures are transparent in places; transparency" in lines[0]


def test_large_pictures_are_not_decoded(tmp_path):
    write_rows(tmp_path / "mine.parquet", rows([picture(0), picture(1)]))
    entry = settings(tmp_path / "mine.parquet", importance="x", profile="x")
    assert len(draw_samples(entry, "mine", "evaluation", 2, 0, max_pixels=10)) == 2
