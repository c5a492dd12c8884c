"""CSV and JSON tables: every cell is what it is, and a fault is one sentence with the place where a person finds it."""

import base64
import json
import os

import pytest
from hub_cache import picture

from adamolmo.config.data import DatasetSettings
from adamolmo.data.planning import check_dataset
from adamolmo.data.sources import SPLITS, draw_samples
from adamolmo.errors import AdaMolmoError

NUM_ROWS = 3
ONLY_EVALUATION = {"importance": "another", "profile": "another"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(NUM_ROWS):
        (tmp_path / f"images/{number}.png").write_bytes(picture(number, "PNG"))
    return tmp_path


def settings(path, source: str = "csv", columns: dict | None = None, scorer: str = "vqa") -> DatasetSettings:
    return DatasetSettings(
        source=source, path=str(path), splits=ONLY_EVALUATION, columns=columns or {}, style=None, scorer=scorer
    )


def samples(path, text: str | bytes, count: int = NUM_ROWS, **changes) -> list[dict]:
    """All questions of the file, in its order."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = draw_samples(settings(path, **changes), "mine", "evaluation", count, seed=0)
    return sorted(found, key=lambda sample: sample["sample_id"])


def fault(path, text: str | bytes, **changes) -> str:
    with pytest.raises(AdaMolmoError) as error:
        samples(path, text, **changes)
    assert str(error.value).isprintable() and "mine" in str(error.value)
    return str(error.value)


def csv(*rows: str, header: str = "image,question,answers") -> str:
    """Rows without their image, which is `images/0.png`, `images/1.png`, ..."""
    return "\n".join([header, *(f"images/{number}.png,{row}" for number, row in enumerate(rows))]) + "\n"


@pytest.mark.parametrize("cell", ["007", "NA", "None", "1.0", "nan", "true", "1e5", "2024-01-02", "-"])
def test_a_cell_of_a_csv_file_is_the_text_that_it_is(folder, cell):
    (sample,) = samples(folder / "mine.csv", csv(f"what is {cell} ?,{cell}"), count=1)
    assert (sample["question"], sample["answers"]) == (f"what is {cell} ?", [cell])
    assert sample["image"] == picture(0, "PNG")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", "\t", ";", ", "])
def test_how_programs_write_csv(folder, encoding, line_end, separator):
    rows = [["image", "question", "answers"], ["images/0.png", '"why, in\nwords; ""now""\t?"', "grün"]]
    text = line_end.join(separator.join(row) for row in rows) + line_end * 2
    (sample,) = samples(folder / "mine.txt", text.encode(encoding), count=1)
    assert sample["question"] == 'why, in\nwords; "now"\t?'
    assert sample["answers"] == ["grün"]


def test_several_answers_are_a_json_list(folder):
    text = csv('why ?,"[""red"", ""blue""]"', "why ?,red; blue")
    found = samples(folder / "mine.csv", text, count=2)
    assert [sample["answers"] for sample in found] == [["red", "blue"], ["red; blue"]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (csv("why ?,red", "why, really ?,red"), "line 3 of"),
        (csv("why ?,red", "why, really ?,red"), "4 fields; expected 3 as in the header (a text with the separator"),
        (csv("why ?"), "2 fields; expected 3 as in the header"),
        (csv('"why\n?",red', "why ?"), "line 4 of"),
        (csv('"why ?,red'), "the row that begins in line 2 is no CSV (unexpected end of data); expected every quote"),
        (csv('"why" ?,red'), "the row that begins in line 2 is no CSV"),
        (csv("why ?,red", header="image,question,question,answers"), "has 2 columns 'question'; found image, question"),
        (csv("why ?,red", header="image,frage,answers"), "columns.question: mine.csv has no column 'question'"),
        (csv("why ?,grün").encode("latin-1"), "line 2 of"),
        (csv("why ?,grün").encode("latin-1"), "holds bytes that are no UTF-8 text (0xfc at 2); expected the encoding"),
        (csv("why ?,red").encode("utf-16"), "line 1 holds bytes that are no UTF-8 text (0xff at 0)"),
        ("", "mine.csv: is empty; expected a header and rows"),
        (csv("why ?,"), "column 'answers' is empty; expected answers"),
        (csv(" ,red"), "column 'question' is empty; expected a question"),
    ],
)
def test_a_fault_of_a_csv_file(folder, text, sentence):
    assert sentence in fault(folder / "mine.csv", text, count=1)


OPTIONS = {"options": ["A", "B", "C", "D"], "answers": "answer", "question_id": "index"}


def test_the_tsv_of_vlmevalkit(folder):
    """Images in base64, those of another question by its index, options in columns, which may be blank at the end."""
    images = [base64.b64encode(picture(number)).decode() for number in range(2)]
    rows = [
        ["index", "image", "question", "A", "B", "C", "D", "answer", "category"],
        ["10", images[0], "which ?", "cat", "dog", "None", "NA", "D", "x"],
        ["11", "10", "which ?", "cat", "dog", "", "", "B", "x"],
        ["12", images[1], "which ?", "1", "2", "3", "", "3", "x"],
    ]
    text = "\n".join("\t".join(row) for row in rows)
    found = samples(folder / "mine.tsv", text, columns=OPTIONS, scorer="multiple_choice")
    assert [sample["sample_id"] for sample in found] == ["10", "11", "12"]
    assert [sample["image"] for sample in found] == [picture(0), picture(0), picture(1)]
    assert [sample["answers"] for sample in found] == [["D", "NA"], ["B", "dog"], ["C", "3"]]
    assert found[1]["question"] == "which ?\nA: cat\nB: dog\n"
    assert len({sample["image_id"] for sample in found}) == 2


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("cat,,mouse,,A", "columns A, B, C, D: the row has text '' as option 1; expected texts"),
        (",,,,A", "columns A, B, C, D: the row holds an empty list; expected a list of options"),
        ("cat,dog,,,C", "column 'answer' holds text 'C'; expected the number of one of 2 options"),
    ],
)
def test_options_that_cannot_be_right(folder, row, sentence):
    text = csv(f"0,which ?,{row}", header="image,index,question,A,B,C,D,answer")
    assert sentence in fault(folder / "mine.csv", text, count=1, columns=OPTIONS, scorer="multiple_choice")


RECORDS = [
    {"image": "images/0.png", "question": "why ?", "answers": ["red", "blue"]},
    {"image": "images/1.png", "question": "why\nnot ?", "answers": 3},
    {"image": {"path": "images/2.png"}, "question": "why ?", "answers": "007"},
]
LAYOUTS = {
    "a record a line": "\n".join(map(json.dumps, RECORDS)),
    "blank lines": "\n\n".join(map(json.dumps, RECORDS)) + "\n\n",
    "one list": json.dumps(RECORDS, indent=2),
    "one list in a line": json.dumps(RECORDS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl", "mine"])
def test_json(folder, layout, name):
    found = samples(folder / name, LAYOUTS[layout], source="json")
    assert [sample["answers"] for sample in found] == [["red", "blue"], ["3"], ["007"]]
    assert [sample["image"] for sample in found] == [picture(number, "PNG") for number in range(NUM_ROWS)]
    assert found[1]["question"] == "why\nnot ?"


def test_lists_instead_of_records_have_numbers_as_columns(folder):
    """As easy-VQA keeps them: question, answer, number of the image."""
    text = json.dumps([["why ?", "red", 2], ["why ?", "blue", 0], ["why not ?", "red", 0]])
    columns = {"question": "0", "answers": "1", "image": "images/{2}.png"}
    found = samples(folder / "questions.json", text, source="json", columns=columns)
    assert [sample["image"] for sample in found] == [picture(number, "PNG") for number in (2, 0, 0)]
    assert [sample["answers"] for sample in found] == [["red"], ["blue"], ["red"]]


def test_the_questions_of_one_record(folder):
    """As VQA v2 and TextVQA keep them, with images whose names have a fixed number of digits."""
    (folder / "images/0.png").rename(folder / "images/COCO_000000000042.png")
    data = [{"image_id": 42, "question": f"why {n} ?", "answers": ["red"], "question_id": n} for n in range(NUM_ROWS)]
    columns = {"question": "data.question", "answers": "data.answers", "question_id": "data.question_id"}
    columns |= {"image": "images/COCO_{data.image_id:012}.png", "image_id": "data.image_id"}
    found = samples(folder / "mine.json", json.dumps({"v": 1, "data": data}), source="json", columns=columns)
    assert [(sample["image_id"], sample["question"]) for sample in found] == [("42", f"why {n} ?") for n in range(3)]
    assert found[0]["image"] == picture(0, "PNG")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LAYOUTS["a record a line"].replace('"why ?"', '"why ?', 1), "is no JSON (Expecting ',' delimiter: line 1"),
        (LAYOUTS["a record a line"] + '\n{"image"', "line 4 is no JSON (Expecting ':' delimiter"),
        (LAYOUTS["one list"][:-2], "is no JSON (Expecting ',' delimiter: line"),
        (LAYOUTS["a record a line"] + "\n3", "line 4 of"),
        (LAYOUTS["a record a line"] + "\n3", "is number 3; expected a record, or a list of values"),
        (json.dumps([{**RECORDS[0], "answers": None}]), "entry 0 of"),
        (json.dumps([{"image": "images/0.png"}]), "column 'question' names 'question', which is none of image"),
        ('[{"question": "a", "question": "b"}]', "a record has the field text 'question' twice"),
        ("[" * 100_000, "is no JSON (it is nested too deeply)"),
        ('["\xe9"]'.encode("latin-1"), "line 1 holds bytes that are no UTF-8 text (0xe9 at 2)"),
        (
            '{"image": 3, "question": "a", "answers": "b"}',
            "column 'image' holds number 3; expected the path of an",
        ),
    ],
)
def test_a_fault_of_a_json_file(folder, text, sentence):
    assert sentence in fault(folder / "mine.json", text, count=10, source="json")


@pytest.mark.parametrize("where", ["planned", "read"])
@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("../other.png", "column 'image' names '../other.png', which is not in"),
        ("/etc/passwd", "column 'image' names '/etc/passwd', which is not in"),
        ("", "column 'image' holds text ''; expected the path of an image file, or the file in base64"),
        ("images/9.png", "images/9.png"),
        ("images", "images"),
    ],
)
def test_pictures_that_are_not_there(folder, where, cell, sentence):
    path = folder / "data/mine.csv"
    path.parent.mkdir()
    (folder / "other.png").write_bytes(picture(0))
    text = f"image,question,answers\n{cell},why ?,red\n"
    if where == "read":
        assert sentence in fault(path, text, count=1)
    else:
        path.write_text(text)
        unsplit = DatasetSettings(source="csv", path=str(path), style=None, scorer="vqa")
        with pytest.raises(AdaMolmoError) as error:
            check_dataset(unsplit, "mine", dict.fromkeys(SPLITS, 1))
        assert sentence in str(error.value) and "line 2" in str(error.value)


def test_pictures_lie_anywhere_in_the_folder_of_the_dataset(folder):
    table = folder / "tables/mine.csv"
    table.parent.mkdir()
    table.write_text(f"image,question,answers\n../images/0.png,why ?,red\n{folder}/images/1.png,why ?,red\n")
    found = draw_samples(settings(folder), "mine", "evaluation", 2, seed=0)
    assert sorted(sample["image"] for sample in found) == sorted(picture(number, "PNG") for number in range(2))


@pytest.mark.parametrize(
    "address",
    ["", "data:image/png;base64,", "data:;base64,", "data:image/png;charset=utf-8;base64,", "DATA:image/PNG;BASE64,"],
)
def test_base64_in_lines_and_addresses(folder, address):
    image = address + base64.encodebytes(picture(0, "PNG")).decode()
    (sample,) = samples(folder / "mine.csv", f'image,question,answers\n"{image}",why ?,red\n', count=1)
    assert sample["image"] == picture(0, "PNG")


@pytest.mark.parametrize("where", ["planned", "read"])
@pytest.mark.parametrize("address", ["https://x.org/0.png", "s3://bucket/0.png", "data:image/png,%89PNG"])
def test_an_address_is_no_picture(folder, where, address):
    text = f'image,question,answers\n"{address}",why ?,red\n'
    assert "column 'image' holds the address" in found_fault(folder / "mine.csv", text, where)


def found_fault(path, text: str, where: str) -> str:
    if where == "read":
        return fault(path, text, count=1)
    path.write_text(text)
    unsplit = DatasetSettings(source="csv", path=str(path), style=None, scorer="vqa")
    with pytest.raises(AdaMolmoError) as error:
        check_dataset(unsplit, "mine", dict.fromkeys(SPLITS, 1))
    return str(error.value)


@pytest.mark.parametrize("where", ["planned", "read"])
@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("x" * 5000, "File name too long"),
        ("circle", "Too many levels"),
        ("pipe", "is no file"),
        ("dead", "leads nowher"),
    ],
)
def test_a_path_that_no_picture_can_have(folder, where, cell, sentence):
    (folder / "circle").symlink_to("circle")
    (folder / "dead").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    assert sentence in found_fault(folder / "mine.csv", f"image,question,answers\n{cell},why ?,red\n", where)


@pytest.mark.parametrize(
    ("stored", "written"),
    [("ro\u0301t.png", "r\u00f3t.png"), ("r\u00f3t.png", "ro\u0301t.png"), ("images/0.png", "images\\0.png")],
)
def test_a_picture_whose_name_another_system_spells(folder, stored, written):
    (folder / stored).write_bytes(picture(7))
    (sample,) = samples(folder / "mine.csv", f"image,question,answers\n{written},why ?,red\n", count=1)
    assert sample["image"] == picture(7)


def test_damaged_base64(folder):
    image = base64.b64encode(picture(0)).decode()[:-5] + "é"
    assert "column 'image' holds base64 that is damaged" in fault(
        folder / "mine.csv", f"image,question,answers\n{image},why ?,red\n", count=1
    )


def test_rows_are_drawn_in_an_order_that_the_seed_decides(folder):
    (folder / "mine.csv").write_text(csv(*["why ?,red"] * NUM_ROWS))
    drawn = [
        [s["sample_id"] for s in draw_samples(settings(folder / "mine.csv"), "mine", "evaluation", NUM_ROWS, seed)]
        for seed in range(8)
    ]
    assert len(set(map(tuple, drawn))) > 1 and len({frozenset(ids) for ids in drawn}) == 1
    assert drawn[0][0].startswith("mine.csv:")
