"""Copies of Hub repositories, made up: their schemas, small pictures, and questions that the embedded model knows.

`references` maps (task, document's number) to an answer. Where it is given, the documents' own answers are made from it
so that a model that gives this answer has a score that can be worked out by hand; see `ANNOTATORS` and `RIGHT`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import datasets
from PIL import Image

from adamolmo.data.procedural import scenes
from adamolmo.lmms_eval.data import prepare

TASKS = ("textvqa_val", "ok_vqa_val2014", "vqav2_val", "mme", "pope")
OPTIONS = {"A": "yes", "B": "no", "C": "red", "D": "2"}  # of the multiple-choice tasks; the right one goes round
NUM_VQA = 10
NUM_YES_NO = 16  # two questions on each of eight pictures
# How many of ten annotators agree with the reference of VQA document i, and what leave-one-out scoring gives for it:
# with k of 10, the mean over the left-out one is ((10 - k) * min(1, k / 3) + k * min(1, (k - 1) / 3)) / 10.
ANNOTATORS = [0, 1, 2, 3, 4, 10, 1, 0, 3, 2]
LEAVE_ONE_OUT = {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9, 4: 1.0, 10: 1.0}
# Whether the reference is right for yes-or-no document i.
RIGHT = [True, True, True, False, False, False, True, True, False, True, True, True, False, False, True, False]
MME_CATEGORIES = ("existence", "count", "code_reasoning", "existence", "existence", "count", "code_reasoning", "count")
_COLOURS = ("red", "green", "blue", "white")
_TEXT, _IMAGE = datasets.Value("string"), datasets.Image()


@dataclass(frozen=True)
class TaskData:
    """`source` holds copies of Hub repositories; `path` what was prepared from them."""

    source: Path
    path: Path


def prepared(folder: Path, references: Mapping[tuple[str, int], str] | None = None) -> TaskData:
    """The five tasks."""
    data = TaskData(folder / "hub", folder / "data")
    write_hub(data.source, references)
    for task in TASKS:
        prepare(task, data.source, data.path / task)
    return data


def write_hub(root: Path, references: Mapping[tuple[str, int], str] | None = None) -> None:
    """`root`/lmms-lab-encoder/{textvqa,OK-VQA,VQAv2,MME,POPE}."""
    references = references or {}
    for task, (repository, split, rows, features) in _repositories(references).items():
        path = root / "lmms-lab-encoder" / repository / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows, datasets.Features(features)).to_parquet(path)
        assert len(rows) == (NUM_YES_NO if task in ("mme", "pope") else NUM_VQA)


def _repositories(references: Mapping) -> dict:
    number, text, answers = datasets.Value("int32"), _TEXT, datasets.List(_TEXT)
    textvqa = {"question_id": number, "image_id": text, "question": text, "image": _IMAGE, "answers": answers}
    textvqa |= {"image_width": number, "image_height": number, "ocr_tokens": answers}
    okvqa = {"question_id": text, "image": _IMAGE, "question": text, "answers": answers}
    annotator = {"answer": text, "answer_confidence": text, "answer_id": datasets.Value("int64")}
    vqav2 = {"question_id": datasets.Value("int64"), "image_id": datasets.Value("int64"), "image": _IMAGE}
    vqav2 |= {"question": text, "question_type": text, "answer_type": text, "multiple_choice_answer": text}
    vqav2 |= {"answers": [annotator]}
    yes_no = {"question_id": text, "image": _IMAGE, "question": text, "answer": text, "category": text}
    pope = yes_no | {"id": text, "image_source": text}
    return {
        "textvqa_val": ("textvqa", "validation", list(_textvqa(references)), textvqa),
        "ok_vqa_val2014": ("OK-VQA", "val2014", list(_okvqa(references)), okvqa),
        "vqav2_val": ("VQAv2", "validation", list(_vqav2(references)), vqav2),
        "mme": ("MME", "test", list(_mme(references)), yes_no),
        "pope": ("POPE", "test", list(_pope(references)), pope),
    }


def _asked(dataset: str) -> Iterator[tuple[str, Image.Image, str]]:
    """(image's id, image, question): two questions on each image."""
    for index, scene in enumerate(islice(scenes(dataset, "fabricated"), NUM_VQA // 2)):
        for question in scene.questions[:2]:
            yield f"{index:03d}", scene.image, question.text


def _annotators(references: Mapping, task: str, doc_id: int) -> list[str]:
    agree = ANNOTATORS[doc_id] if (task, doc_id) in references else 0
    return [references.get((task, doc_id), "")] * agree + ["nobody says this"] * (10 - agree)


def _textvqa(references: Mapping) -> Iterator[dict]:
    for i, (image_id, image, question) in enumerate(_asked("text_vqa")):
        size = {"image_width": image.width, "image_height": image.height, "ocr_tokens": []}
        answers = _annotators(references, "textvqa_val", i)
        yield {"question_id": i, "image_id": image_id, "question": question, "image": image, "answers": answers, **size}


def _okvqa(references: Mapping) -> Iterator[dict]:
    for i, (_, image, question) in enumerate(_asked("okvqa")):
        answers = _annotators(references, "ok_vqa_val2014", i)
        yield {"question_id": str(i), "image": image, "question": question, "answers": answers}


def _vqav2(references: Mapping) -> Iterator[dict]:
    for i, (image_id, image, question) in enumerate(_asked("coco_2014_vqa")):
        given = enumerate(_annotators(references, "vqav2_val", i))
        answers = [{"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in given]
        row = {"question_id": i, "image_id": int(image_id), "image": image, "question": question, "answers": answers}
        yield row | {"question_type": "what", "answer_type": "other", "multiple_choice_answer": "nobody says this"}


def _yes_no(references: Mapping, task: str) -> Iterator[tuple[int, int, Image.Image, str, str]]:
    """(document's number, picture's number, picture, question, answer)."""
    for picture, scene in enumerate(islice(scenes("coco_2014_vqa", "yes or no"), NUM_YES_NO // 2)):
        for place in range(2):
            i = 2 * picture + place
            said = references.get((task, i), "yes")
            answer = said if RIGHT[i] else {"yes": "no"}.get(said, "yes")
            answer = answer if answer in ("yes", "no") else "yes"
            yield i, picture, scene.image, f"is there a {_COLOURS[i % 4]} star ?", answer


def _mme(references: Mapping) -> Iterator[dict]:
    for _, picture, image, question, answer in _yes_no(references, "mme"):
        ids = {"question_id": f"{picture:04d}.png", "category": MME_CATEGORIES[picture]}
        yield ids | {"image": image, "question": question, "answer": answer.capitalize()}


def _pope(references: Mapping) -> Iterator[dict]:
    for i, picture, image, question, answer in _yes_no(references, "pope"):
        ids = {"id": str(i), "question_id": str(i), "image_source": f"picture {picture}", "category": "random"}
        yield ids | {"image": image, "question": question, "answer": answer}


def write_multiple_choice(root: Path) -> None:
    """`root`/lmms-lab-encoder/{MMBench,ScienceQA}, each with a named configuration, as on the Hub."""
    number, text = datasets.Value("int64"), _TEXT
    mmbench = {"index": number, "question": text, "hint": text, "answer": text, "source": text, "split": text}
    mmbench |= {"category": text, "L2-category": text, "image": _IMAGE, **dict.fromkeys(OPTIONS, text)}
    scienceqa = {"question": text, "hint": text, "choices": datasets.List(text), "answer": number, "image": _IMAGE}
    rows = {"MMBench": [], "ScienceQA": []}
    for i, (_, image, question) in enumerate(_asked("coco_2014_vqa")):
        right = i % len(OPTIONS)
        kind = {"source": "made up", "split": "dev", "category": "all", "L2-category": "all", "hint": "nan"}
        row = {"index": i, "question": question, "image": image, "answer": list(OPTIONS)[right]}
        rows["MMBench"].append(row | kind | OPTIONS)
        row = {"question": question, "hint": "", "choices": list(OPTIONS.values()), "answer": right, "image": image}
        rows["ScienceQA"].append(row)
    for repository, name, split, features in (
        ("MMBench", "en", "dev", mmbench),
        ("ScienceQA", "ScienceQA-IMG", "test", scienceqa),
    ):
        folder = root / "lmms-lab-encoder" / repository
        (folder / name).mkdir(parents=True)
        files = f"data_files: [{{split: {split}, path: {name}/{split}-*}}]"
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {name}\n  {files}\n---\n")
        documents = datasets.Dataset.from_list(rows[repository], datasets.Features(features))
        documents.to_parquet(folder / name / f"{split}-00000-of-00001.parquet")
