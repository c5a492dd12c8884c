"""Tables with columns of any type and content, and damaged Parquet files: right samples, or one sentence."""

import datetime
import io
import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
from hub_cache import IMAGE_TYPE, picture
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged

from adamolmo.config.data import DatasetSettings
from adamolmo.data.sources import draw_samples
from adamolmo.errors import AdaMolmoError

ROWS = 3
PICTURES = [picture(number) for number in range(ROWS)]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        " ",
        "red",
        "B",
        "3",
        "nan",
        "None",
        "[1]",
        '["a", "b"]',
        "['a']",
        "{}",
        "\x1b[31mred\x1b[0m",
        "\x9b2J",
        "a\r\nb",
    ]
)
NOT_UTF8 = st.binary(max_size=6) | st.sampled_from([b"caf\xe9", b"\xff\xfe", b"red", "grün".encode()])
NUMBERS = st.integers(-3, 30) | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats() | st.sampled_from([0.0, 1.0, 3.0, 0.5, -0.0, float("nan"), 1e300])
PLAIN = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.binary(), NOT_UTF8),
    (pa.int64(), NUMBERS),
    (pa.float64(), FLOATS),
    (pa.float32(), FLOATS.filter(lambda x: x != x or abs(x) < 1e38)),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.date32(), st.dates()),
    (pa.timestamp("ns"), st.datetimes(datetime.datetime(1980, 1, 1), datetime.datetime(2100, 1, 1))),
    (pa.duration("ns"), st.integers(-(2**40), 2**40)),
    (pa.decimal128(20, 2), st.integers(-(10**6), 10**6).map(lambda cents: Decimal(cents) / 100)),
]


def nested(kind: tuple) -> list[tuple]:
    """The type itself, and in a list, a record and a list of records."""
    inner, values = kind
    record = pa.struct([("answer", inner), ("id", pa.int32())])
    records = st.fixed_dictionaries({"answer": st.none() | values, "id": st.integers(0, 9)})
    return [
        kind,
        (pa.list_(inner), st.lists(st.none() | values, max_size=3)),
        (record, records),
        (pa.list_(record), st.lists(records, max_size=3)),
        (pa.list_(pa.list_(inner)), st.lists(st.lists(values, max_size=2), max_size=2)),
    ]


ANY_TYPE = [variant for kind in PLAIN for variant in nested(kind)]
IMAGES = [
    (IMAGE_TYPE, st.fixed_dictionaries({"bytes": st.sampled_from(PICTURES), "path": st.none() | TEXTS})),
    (pa.binary(), st.sampled_from(PICTURES) | st.binary(max_size=8)),
    (pa.list_(pa.binary()), st.lists(st.sampled_from(PICTURES), max_size=2)),
]


def column(kinds: list[tuple]) -> st.SearchStrategy[pa.Array]:
    """Three cells of one of the types, some of them null."""

    def cells(kind: tuple) -> st.SearchStrategy[pa.Array]:
        values = st.lists(kind[1] | st.none() if kind[0] != pa.null() else st.none(), min_size=ROWS, max_size=ROWS)
        dense = st.lists(kind[1], min_size=ROWS, max_size=ROWS)
        return (dense | values).map(lambda found: pa.array(found, kind[0]))

    return st.sampled_from(kinds).flatmap(cells)


def not_utf8(values: list[bytes]) -> pa.Array:
    """A column that says it is text, of bytes that need not be."""
    return pa.Array.from_buffers(pa.string(), ROWS, pa.array(values, pa.binary()).buffers())


USUAL = {
    "image": pa.array([{"bytes": file, "path": None} for file in PICTURES], IMAGE_TYPE),
    "question": pa.array([f"what is {number} ?" for number in range(ROWS)]),
    "answers": pa.array([["red", "red"], ["blue"], ["3"]]),
    "options": pa.array([["red", "blue"], ["A", "B"], ["3", "4", "5"]]),
    "question_id": pa.array([7, 8, 9]),
    "image_id": pa.array(["a", "b", "c"]),
    "context": pa.array(["Look.", "", None]),
}
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "image": column(IMAGES + ANY_TYPE),
        **dict.fromkeys(("question", "answers", "options", "question_id", "image_id", "context"), column(ANY_TYPE)),
    },
) | st.dictionaries(
    st.sampled_from(["question", "answers", "question_id", "context"]),
    st.lists(NOT_UTF8, min_size=ROWS, max_size=ROWS).map(not_utf8),
    min_size=1,
)


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, write_page_checksum=True, row_group_size=2)
    return file.getvalue()


def drawn(path, columns: dict[str, str]) -> list[dict] | str:
    """All samples of the file, or the sentence that it ended with."""
    settings = DatasetSettings(
        source="parquet",
        path=str(path),
        splits={"importance": "another", "profile": "another"},  # all rows are for evaluation
        columns={"question": "question", "answers": "answers", **columns},
        style=None,
        scorer="multiple_choice" if "options" in columns else "vqa",
    )
    try:
        return draw_samples(settings, "mine", "evaluation", ROWS, seed=0)
    except AdaMolmoError as error:
        sentence = str(error)
    assert sentence.isprintable() and len(sentence) < 1000 and "mine" in sentence
    return sentence


def check(samples: list[dict]) -> None:
    for sample in samples:
        texts = [sample["sample_id"], sample["image_id"], sample["question"], *sample["answers"]]
        assert all(isinstance(text, str) and text.strip() and not CONTROL.search(text) for text in texts)
        assert not {"None", "nan", "NaN"} & {*texts[:2]} and isinstance(sample["image"], bytes)
        pa.array(texts)  # it can be written


ROLES = st.sampled_from(
    [
        {},
        {"question_id": "question_id", "image_id": "image_id"},
        {"options": "options", "context": "context"},
        {"answers": "answers.answer"},
        {"question": "question.answer", "answers": "question.id"},
    ]
)


@given(TABLES, ROLES)
def test_columns_of_any_type(tmp_path, changed, roles):
    path = tmp_path / "mine.parquet"
    path.write_bytes(parquet(pa.table({**USUAL, **changed})))
    found = drawn(path, roles)
    if isinstance(found, str):
        assert "column" in found or "two" in found or "there are" in found
    else:
        check(found)


@given(damaged(parquet(pa.table(USUAL))))
def test_damaged_files(tmp_path, file):
    """Nothing is read as something else: the file has page checksums, and its footer is checked when it is read."""
    path = tmp_path / "mine.parquet"
    path.write_bytes(file)
    found = drawn(path, {"question_id": "question_id"})
    if not isinstance(found, str):
        rows = pa.table(USUAL).to_pylist()
        expected = [(str(row["question_id"]), row["question"], row["answers"], row["image"]["bytes"]) for row in rows]
        read = [(sample["sample_id"], sample["question"], sample["answers"], sample["image"]) for sample in found]
        assert sorted(read) == expected
