"""Questions from Parquet files in the schemas of the Hub's datasets, from a local cache and from local files."""

import hashlib
import re

import hub_cache
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_cache import image_entry, picture, text_vqa_rows, vqa_v2_rows, write_rows

from adamolmo.config.data import DatasetSettings
from adamolmo.data.division import SHARES, owner, sharing_with
from adamolmo.data.samples import Sample
from adamolmo.data.sources import SPLITS, draw_samples
from adamolmo.data.tables import table_samples
from adamolmo.errors import AdaMolmoError

TEXT_VQA = {
    "source": "hub",
    "path": "lab/textvqa",
    "splits": {"importance": "train", "profile": "train", "evaluation": "validation"},
    "columns": {"question_id": "question_id", "image_id": "image_id"},
    "style": "text_vqa",
    "scorer": "vqa",
}
LOCAL = {"source": "parquet", "style": None, "scorer": "vqa"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hub cache without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def text_vqa(cache):
    """600 questions on 300 images in three train files, 40 on 20 other images in a validation file."""
    folder = hub_cache.repository(cache, "dataset", "lab/textvqa")
    for shard in range(3):
        write_rows(folder / f"data/train-{shard:05d}-of-00003.parquet", text_vqa_rows(200, 200 * shard))
    write_rows(folder / "data/validation-00000-of-00001.parquet", text_vqa_rows(40, 1000))
    (folder / "README.md").write_text("# TextVQA")
    return DatasetSettings.model_validate(TEXT_VQA)


def settings(raw: dict, **changes) -> DatasetSettings:
    return DatasetSettings.model_validate(raw | changes)


def error_of(entry: DatasetSettings, split: str = "profile", count: int = 1) -> str:
    with pytest.raises(AdaMolmoError) as error:
        draw_samples(entry, "mine", split, count, seed=0)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_become_samples(text_vqa):
    for sample in draw_samples(text_vqa, "text_vqa", "evaluation", 40, seed=0):
        number = int(sample["sample_id"])
        assert sample == {
            "sample_id": f"{number}",
            "image_id": f"i{number // 2:04d}",
            "image": picture(number // 2),
            "question": f"what is number {number} ?",
            "answers": [f"{number}"] * 7 + ["red"] * 3,
        }
        assert Sample(**sample).open_image().size[0] == 40


def test_study_splits_of_one_split_share_its_images_out(text_vqa):
    shared = {"importance": "train", "profile": "train", "evaluation": "train"}
    entry = settings(TEXT_VQA, splits=shared)
    counts = {"importance": 30, "profile": 250, "evaluation": 120}
    drawn = {split: draw_samples(entry, "text_vqa", split, count, seed=3) for split, count in counts.items()}
    images = {split: {sample["image_id"] for sample in samples} for split, samples in drawn.items()}
    assert len(set.union(*images.values())) == sum(map(len, images.values()))
    everything = {split: _all(entry, split) for split in SPLITS}
    assert sum(map(len, everything.values())) == 600
    for split, share in SHARES.items():
        assert len(everything[split]) / 600 == pytest.approx(share / 10, abs=0.06)
    # `evaluation` has a split of its own here: the other two get more of theirs.
    assert sum(len(_all(text_vqa, split)) for split in ("importance", "profile")) == 600


def _all(entry: DatasetSettings, split: str) -> list[dict]:
    """The split's share."""
    sharing = sharing_with(entry, split)
    samples = table_samples(entry, "text_vqa", split, seed=3)
    return [sample for sample in samples if owner(sample["image_id"], sharing, seed=3) == split]


def test_the_subset_depends_on_the_seed_alone(text_vqa):
    ids = {seed: [s["sample_id"] for s in draw_samples(text_vqa, "d", "profile", 50, seed)] for seed in (0, 1)}
    assert ids[0] != ids[1]
    assert ids[0] == [s["sample_id"] for s in draw_samples(text_vqa, "d", "profile", 50, seed=0)]
    more = [s["sample_id"] for s in draw_samples(text_vqa, "d", "profile", 80, seed=0)]
    assert more[:50] == ids[0]
    assert ids[0] != sorted(ids[0], key=int)


def test_only_the_files_that_are_needed_are_fetched(text_vqa, cache, monkeypatch):
    from adamolmo.data.hub import Repository

    fetched = []
    original = Repository.fetch
    monkeypatch.setattr(Repository, "fetch", lambda self, file: fetched.append(file) or original(self, file))
    draw_samples(text_vqa, "text_vqa", "profile", 40, seed=0)
    assert len(fetched) == 1 and fetched[0].startswith("data/train-")


def test_answers_that_are_structs(cache):
    folder = hub_cache.repository(cache, "dataset", "lab/VQAv2")
    write_rows(folder / "data/validation-00000-of-00001.parquet", vqa_v2_rows(60))
    entry = settings(
        TEXT_VQA,
        path="lab/VQAv2",
        splits=dict.fromkeys(SPLITS, "validation"),
        columns={"answers": "answers.answer", "question_id": "question_id", "image_id": "image_id"},
    )
    (sample,) = draw_samples(entry, "coco_2014_vqa", "evaluation", 1, seed=0)
    assert sample["answers"] == ["red", "two"] * 5
    assert int(sample["image_id"]) == (int(sample["sample_id"]) - 100) // 3


def test_several_questions_in_one_row(tmp_path):
    rows = [
        {"image": image_entry(n), "qa": [{"question": f"how many {n} {k} ?", "answer": k} for k in range(3)]}
        for n in range(10)
    ]
    write_rows(tmp_path / "tally.parquet", rows)
    entry = settings(
        LOCAL, path=str(tmp_path / "tally.parquet"), columns={"question": "qa.question", "answers": "qa.answer"}
    )
    samples = [s for split in SPLITS for s in _all(entry, split)]
    assert len(samples) == len({s["sample_id"] for s in samples}) == 30
    sample = next(s for s in samples if s["sample_id"] == "tally:4-2")
    assert (sample["question"], sample["answers"]) == ("how many 4 2 ?", ["2"])
    assert sample["image_id"] == hashlib.sha256(picture(4)).hexdigest()[:16]


def test_multiple_choice(tmp_path):
    row = {"image": image_entry(0), "question": "which ?", "choices": ["cat", "dog"], "answer": 1, "hint": "Look."}
    write_rows(tmp_path / "IMG/train-00000-of-00001.parquet", [row, row | {"hint": ""}])
    columns = {"options": "choices", "answers": "answer", "context": "hint"}
    entry = settings(LOCAL, path=str(tmp_path), config="IMG", columns=columns, scorer="multiple_choice")
    first, second = (s for split in SPLITS for s in _all(entry, split))
    assert first["question"] == "Look.\nwhich ?\nA: cat\nB: dog\n"
    assert second["question"] == "which ?\nA: cat\nB: dog\n"
    assert first["answers"] == ["B", "dog"]
    write_rows(tmp_path / "IMG/train-00000-of-00001.parquet", [row | {"answer": 2}])
    found = next(split for split in SPLITS if "expected the number of one of 2 options" in _fault(entry, split))
    assert "row 0 of" in _fault(entry, found)


@pytest.mark.parametrize("answer", ["a few", "1,2", "²"])
def test_an_answer_that_cannot_be_scored_is_refused_with_its_row(tmp_path, answer):
    """Not in the middle of the profile."""
    row = {"image": image_entry(0), "question": "how many ?", "answer": "3"}
    write_rows(tmp_path / "mine.parquet", [row, row | {"answer": answer}])
    entry = settings(LOCAL, path=str(tmp_path / "mine.parquet"), columns={"answers": "answer"}, scorer="count")
    faults = [_fault(entry, split) for split in SPLITS]
    expected = f"row 1 of .*column 'answer': the answer '{answer}' is no number, as scorer 'count' expects"
    assert any(re.search(expected, fault) for fault in faults), faults


def _fault(entry: DatasetSettings, split: str) -> str:
    try:
        return str(_all(entry, split))
    except AdaMolmoError as error:
        return str(error)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("value", [0.1, 2.5, 3.0, -0.25])
def test_a_number_is_the_decimal_that_it_stands_for_in_any_width(tmp_path, kind, value):
    answers = pa.array(
        [{"answer": [np.float16(value) if kind == pa.float16() else value]}], pa.struct([("answer", pa.list_(kind))])
    )
    pq.write_table(pa.table({"image": [picture(0)], "question": ["why ?"], "answers": answers}), tmp_path / "a.parquet")
    only = {"importance": "another", "profile": "another"}
    entry = settings(LOCAL, path=str(tmp_path / "a.parquet"), columns={"answers": "answers.answer"}, splits=only)
    (sample,) = draw_samples(entry, "mine", "evaluation", 1, seed=0)
    assert sample["answers"] == [f"{value:g}"]


def test_a_plain_file_of_ones_own(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"image": [picture(n, "PNG") for n in range(20)], "question": ["why ?"] * 20, "answers": ["red"] * 20}
    pq.write_table(pa.table(table), tmp_path / "mine.parquet")
    entry = settings(LOCAL, path=str(tmp_path / "mine.parquet"))
    (sample,) = draw_samples(entry, "mine", "profile", 1, seed=0)
    assert sample["answers"] == ["red"]
    assert "there are 20" in error_of(entry, count=21) and "expected samples.profile = 21" in error_of(entry, count=21)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": {"answers": "answer"}}, "columns.answers: train-0000"),
        ({"columns": {"answers": "answer"}}, "has no column 'answer'; found image_id, question_id, question, image"),
        ({"columns": {"answers": "image.caption"}}, "names 'caption', which is none of bytes, path."),
        ({"splits": {"profile": "training"}}, "datasets.mine.splits.profile: lab/textvqa at 0123456789"),
        ({"splits": {"profile": "training"}}, "has no files of a split 'training'; found data/train-00000-of-00003"),
        ({"config": "en"}, "datasets.mine.config: lab/textvqa at"),
        ({"config": "en"}, "has no folder 'en' with data files; found data."),
        ({"path": "lab/missing"}, "datasets.mine.path: dataset repository 'lab/missing' cannot be had from the"),
        ({"path": "lab/missing"}, "run prepare_data and prepare_model where the Hub can be reached"),
        ({"path": "no name"}, "datasets.mine.path: 'no name' is not a repository of the Hugging Face Hub"),
    ],
)
def test_a_wrong_entry_is_one_sentence(text_vqa, changes, sentence):
    assert sentence in error_of(settings(TEXT_VQA, **changes))


def test_a_split_in_several_folders(tmp_path):
    for folder in ("DocVQA", "InfographicVQA"):
        write_rows(tmp_path / folder / "validation-00000-of-00001.parquet", text_vqa_rows(2))
    entry = settings(LOCAL, path=str(tmp_path), splits=dict.fromkeys(SPLITS, "validation"))
    assert "in several folders; expected one of DocVQA, InfographicVQA." in error_of(entry)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"answers": []}, "column 'answers' is empty; expected answers, which a test split may not have"),
        ({"question": ""}, "column 'question' is empty; expected a question"),
        ({"question": "\x00\x07"}, "column 'question' is empty; expected a question"),
        (
            {"image": {"bytes": None, "path": "a.jpg"}},
            "column 'image' holds null; expected the bytes of one image file",
        ),
    ],
)
def test_a_row_that_lacks_something(tmp_path, row, sentence):
    rows = [{"image": image_entry(0), "question": "why ?", "answers": ["red"]} | row]
    write_rows(tmp_path / "bad.parquet", [*rows, {"image": image_entry(1), "question": "?", "answers": ["red"]}])
    assert sentence in error_of(settings(LOCAL, path=str(tmp_path / "bad.parquet")))


def test_damaged_or_absent_files(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    entry = settings(LOCAL, path=str(tmp_path / "bad.parquet"))
    assert "bad.parquet: cannot be read as Parquet" in error_of(entry)
    assert "nowhere does not exist; expected a Parquet file" in error_of(
        settings(LOCAL, path=str(tmp_path / "nowhere"))
    )
