"""Damaged CSV, JSON and Arrow files: the samples that are left, or one sentence, when planning and when reading."""

import base64
import io
import json
import re

import pyarrow as pa
import pytest
from hub_cache import IMAGE_TYPE, picture
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged

from adamolmo.config.data import DatasetSettings
from adamolmo.data.planning import check_dataset
from adamolmo.data.sources import SPLITS, draw_samples
from adamolmo.errors import AdaMolmoError

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
RECORDS = [
    {"id": "7", "image": "a.png", "question": 'what, "x" ?', "answers": '["red", "blue"]'},
    {"id": "8", "image": base64.b64encode(picture(1)).decode(), "question": "why\nnot ?", "answers": "grün"},
    {"id": "9", "image": "8", "question": "why ?", "answers": "3"},
]


def csv_file() -> bytes:
    quoted = [['"{}"'.format(cell.replace('"', '""')) for cell in record.values()] for record in RECORDS]
    return "\n".join(",".join(row) for row in [list(RECORDS[0]), *quoted]).encode()


def arrow_file() -> bytes:
    file = io.BytesIO()
    images = pa.array([{"bytes": picture(number), "path": None} for number in range(3)], IMAGE_TYPE)
    table = pa.Table.from_pylist(RECORDS).set_column(1, "image", images)
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return file.getvalue()


FILES = {
    "csv": csv_file(),
    "json": json.dumps(RECORDS).encode(),
    "json lines": "\n".join(map(json.dumps, RECORDS)).encode(),
    "arrow": arrow_file(),
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a.png"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "bytes", "a"]), inner),
    max_leaves=4,
)


def check(folder, source: str, content: bytes) -> None:
    (folder / "a.png").write_bytes(picture(0))
    (folder / "mine").write_bytes(content)
    settings = DatasetSettings(
        source=source, path=str(folder / "mine"), columns={"question_id": "id"}, style=None, scorer="vqa"
    )
    for call in (
        lambda: check_dataset(settings, "mine", dict.fromkeys(SPLITS, 1)),
        lambda: [draw_samples(settings, "mine", "evaluation", count, seed=0) for count in (1, 2, 3)],
    ):
        try:
            found = call()
        except AdaMolmoError as error:
            sentence = str(error)
            assert sentence.isprintable() and len(sentence) < 1500 and "mine" in sentence
        else:
            for sample in found[-1] if isinstance(found, list) else []:
                texts = [sample["sample_id"], sample["image_id"], sample["question"], *sample["answers"]]
                assert all(isinstance(text, str) and text.strip() and not CONTROL.search(text) for text in texts)
                assert isinstance(sample["image"], bytes)
                pa.array(texts)  # it can be written


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path, name):
    @given(damaged(FILES[name]))
    def any_damage(content):
        check(tmp_path, name.split()[0], content)

    any_damage()


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(RECORDS[0], JSON_VALUES)) | JSON_VALUES, max_size=3))
def test_json_values_of_any_type(tmp_path, values):
    check(tmp_path, "json", json.dumps(values).encode())
