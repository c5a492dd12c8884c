"""Files between rules: what is written comes back, equal content gives equal bytes, and nothing else is accepted."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.files.catalogue import FILES
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import Column, Table, read_table, write_table
from adamolmo.files.sealed_parquet import seal
from adamolmo.files.training import TRAINING
from adamolmo.files.writing import file_checksum


@pytest.fixture
def samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": ["b", "a"],
            "image_id": ["i", "j"],
            "image": [b"\x00\xff", b""],
            "question": ["what ?", "wo ist süß ?"],
            "answers": [["1"], ["2", "zwei"]],
        }
    )


@pytest.fixture
def log() -> pd.DataFrame:
    columns = {name: np.linspace(0, 1, 3) for name in TRAINING.columns}
    return pd.DataFrame(columns | {"step": [1, 2, 3]})


def test_round_trip(samples, tmp_path):
    path = tmp_path / "new" / "samples.parquet"
    write_table(samples, path, SAMPLES, {"n": [1, {"x": None}]})
    found, metadata = read_table(path, SAMPLES)
    expected = samples.sort_values("sample_id", ignore_index=True)
    assert metadata == {"n": [1, {"x": None}]}
    assert found.to_dict("records") == expected.to_dict("records")
    assert [path.name for path in path.parent.iterdir()] == ["samples.parquet"]


def test_equal_content_gives_equal_bytes(samples, tmp_path):
    categories = samples.assign(image_id=samples["image_id"].astype("category"))
    variants = [samples, samples.iloc[::-1], samples[samples.columns[::-1]], categories]
    for number, variant in enumerate(variants):
        write_table(variant, tmp_path / f"{number}.parquet", SAMPLES, {"b": 1, "a": 2} if number else {"a": 2, "b": 1})
    assert len({(tmp_path / f"{number}.parquet").read_bytes() for number in range(len(variants))}) == 1


def test_only_the_columns_that_are_asked_for(samples, tmp_path):
    write_table(samples, tmp_path / "s.parquet", SAMPLES)
    found, _ = read_table(tmp_path / "s.parquet", SAMPLES, ["question"])
    assert found.to_dict("list") == {"question": samples.sort_values("sample_id")["question"].tolist()}


def test_declared_types_are_stored(log, tmp_path):
    write_table(log, tmp_path / "log.parquet", TRAINING)
    assert pq.read_schema(tmp_path / "log.parquet").field("reward").type == pa.float32()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reward": [0, np.nan, 1]}, "column reward has 1 missing values"),
        ({"reward": [0, np.inf, 1]}, "column reward has the value inf; expected a finite number"),
        ({"accuracy": [0, 1.5, 1]}, "column accuracy has the value 1.5; expected a number from 0 to 1"),
        ({"entropy": [0, -1, 1]}, "column entropy has the value -1.0; expected a number from 0"),
        ({"step": [0, 1, 2]}, "column step has the value 0; expected a number above 0"),
        ({"step": [1, 1, 2]}, "two rows share the same step"),
        ({"step": ["x", "y", "z"]}, "cannot be written as training table"),
        ({"extra": [1, 2, 3]}, "column extra is unknown"),
    ],
)
def test_impossible_content_is_not_written(log, tmp_path, change, sentence):
    path = tmp_path / "log.parquet"
    with pytest.raises(AdaMolmoError, match=sentence) as error:
        write_table(log.assign(**change), path, TRAINING)
    assert str(error.value).startswith(str(path))
    assert list(tmp_path.iterdir()) == []


def test_only_an_optional_column_may_lack_values(tmp_path):
    columns = {"name": Column("text", "a name"), "watts": Column("float32", "some", "positive", optional=True)}
    schema, path = Table("power", "power.parquet", "Some.", ("name",), columns), tmp_path / "power.parquet"
    rows = pd.DataFrame({"name": ["a", "b", "c"], "watts": [1.5, None, float("nan")]})
    write_table(rows, path, schema)
    assert pq.read_table(path)["watts"].to_pylist() == [1.5, None, None]
    assert read_table(path, schema)[0]["watts"].isna().tolist() == [False, True, True]
    write_table(rows.assign(watts=None), path, schema)
    assert read_table(path, schema)[0]["watts"].isna().all()
    with pytest.raises(AdaMolmoError, match="column watts has the value 0.0; expected a number above 0"):
        write_table(rows.assign(watts=[0.0, None, 1.0]), path, schema)


def test_missing_column_and_empty_list(samples, log, tmp_path):
    with pytest.raises(AdaMolmoError, match="the training table has no column kl"):
        write_table(log.drop(columns="kl"), tmp_path / "x", TRAINING)
    with pytest.raises(AdaMolmoError, match="column answers has an empty list"):
        write_table(samples.assign(answers=[[], ["1"]]), tmp_path / "x", SAMPLES)


def test_only_the_whole_right_file_is_read(samples, log, tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(AdaMolmoError, match=rf"^{path}: does not exist"):
        read_table(path, TRAINING)
    write_table(log, path, TRAINING)
    whole = path.read_bytes()
    for size in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(AdaMolmoError, match=rf"^{path}: cannot be read as the Parquet table training"):
            read_table(path, TRAINING)
    write_table(samples, path, SAMPLES)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: holds samples; expected the table training"):
        read_table(path, TRAINING)
    log.to_parquet(path)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: cannot be read .*another program's: its bytes are not what"):
        read_table(path, TRAINING)


def test_a_flipped_bit_is_one_sentence_wherever_it_is(log, tmp_path):
    """In pages, their headers, the footer, or the checksum itself."""
    path = tmp_path / "t.parquet"
    write_table(log, path, TRAINING)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(AdaMolmoError, match=rf"^{path}: cannot be read as the Parquet table training"):
            read_table(path, TRAINING, ["step"])


def test_other_programs_read_a_table_and_check_its_pages(log, tmp_path):
    path = tmp_path / "t.parquet"
    write_table(log, path, TRAINING)
    assert pq.read_table(path, page_checksum_verification=True).num_rows == 3
    assert pd.read_parquet(path)["step"].tolist() == [1, 2, 3]
    whole = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    last = min(column.data_page_offset, column.dictionary_page_offset) + column.total_compressed_size - 1
    path.write_bytes(whole[:last] + bytes([whole[last] ^ 1]) + whole[last + 1 :])
    with pytest.raises(OSError, match="CRC|crc"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_table_of_an_older_schema(log, tmp_path):
    path = tmp_path / "t.parquet"
    older = {name: column for name, column in TRAINING.columns.items() if name != "kl"}
    write_table(log.drop(columns="kl"), path, Table("training", "", "", ("step",), older))
    with pytest.raises(AdaMolmoError, match=rf"^{path}: the training table has no column kl"):
        read_table(path, TRAINING)


def test_impossible_values_are_found_on_reading(log, tmp_path):
    path = tmp_path / "t.parquet"
    write_table(log, path, TRAINING)
    table = pq.read_table(path)
    column = table.schema.get_field_index("accuracy")
    pq.write_table(table.set_column(column, "accuracy", pa.array([0, np.nan, 1], pa.float32())), path)
    seal(path)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: column accuracy has the value nan"):
        read_table(path, TRAINING)


def test_checksum_sees_every_byte_and_the_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1" * 3_000_000)
    b.write_bytes(b"2")
    before = file_checksum(a, b)
    assert before != file_checksum(b, a)
    a.write_bytes(b"1" * 2_999_999 + b"3")
    assert file_checksum(a, b) != before


def test_keys_are_columns_and_files_have_different_names():
    for table in (file for file in FILES if isinstance(file, Table)):
        assert set(table.key) <= set(table.columns)
    assert len({file.path for file in FILES}) == len(FILES)
