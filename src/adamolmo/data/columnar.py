"""Rows of Parquet and Arrow files, by pyarrow.

Row groups and batches are read in an order that the seed decides, one at a time, until there are enough questions.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adamolmo.config.data import ColumnSettings
from adamolmo.data.conversion import not_utf8
from adamolmo.data.division import seeded_hash
from adamolmo.data.rows import Row, check_columns
from adamolmo.errors import AdaMolmoError

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch

_ROWS_AT_ONCE = 64
_FILE_FORMAT = b"ARROW1"  # begins an Arrow file that is no stream


def parquet_rows(path: Path, columns: ColumnSettings, key: str, seed: int) -> Iterator[Row]:
    """Raises AdaMolmoError: the file is damaged, or lacks a column, which `key` names."""
    import pyarrow.parquet as pq

    # Opened here: pyarrow would take some names for addresses, and knows none that are not UTF-8.
    with (
        _one_sentence(path, "Parquet"),
        path.open("rb") as opened,
        pq.ParquetFile(opened, page_checksum_verification=True) as file,
    ):
        wanted = check_columns(file.schema_arrow.names, columns, key, path.name)
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        for group in sorted(range(file.num_row_groups), key=lambda group: seeded_hash(seed, path.name, group)):
            number = starts[group]
            for batch in file.iter_batches(_ROWS_AT_ONCE, [group], wanted):
                yield from _rows(batch, wanted, number)
                number += batch.num_rows


def arrow_rows(path: Path, columns: ColumnSettings, key: str, seed: int) -> Iterator[Row]:
    """Of a stream, as `datasets` saves it, or a file. Raises AdaMolmoError as `parquet_rows`."""
    import pyarrow as pa

    with _one_sentence(path, "Arrow"), path.open("rb") as opened, pa.memory_map(str(path)) as mapped:
        is_file = opened.read(len(_FILE_FORMAT)) == _FILE_FORMAT
        with pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped) as reader:
            wanted = check_columns(reader.schema.names, columns, key, path.name)
            batches = reader.read_all().select(wanted).to_batches()
        starts = [0]
        for batch in batches:
            starts.append(starts[-1] + batch.num_rows)
        for index in sorted(range(len(batches)), key=lambda index: seeded_hash(seed, path.name, index)):
            batches[index].validate(full=True)
            yield from _rows(batches[index], wanted, starts[index])


def _rows(batch: "RecordBatch", wanted: Iterable[str], first: int) -> Iterator[Row]:
    for index in range(batch.num_rows):
        cells = {name: batch.column(name)[index] for name in wanted}
        yield Row(first + index, f"row {first + index}", partial(_values, cells))


def _values(cells: dict[str, Any]) -> dict[str, Any]:
    """Python values of a row's cells. Raises ValueError for one that has none."""
    row = {}
    for name, cell in cells.items():
        try:
            value = cell.as_py()
            row[name] = _widened(value, cell.type) if "float" in str(cell.type) else value
        except UnicodeDecodeError as error:
            raise ValueError(f"column '{name}' {not_utf8(error)}; expected UTF-8") from error
        except Exception as error:  # of types without a Python value
            raise ValueError(f"column '{name}' is of type {cell.type}, which cannot be used ({error})") from error
    return row


def _widened(value: Any, kind: "DataType") -> Any:
    """Numbers of 16 and 32 bits, Arrow's halffloat and float, as the shortest decimal number that they stand for: 0.1
    instead of 0.10000000149."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(value, float) and (types.is_float16(kind) or types.is_float32(kind)):
        return float(str((np.float16 if types.is_float16(kind) else np.float32)(value)))
    if isinstance(value, dict) and types.is_struct(kind):
        return {name: _widened(entry, kind.field(name).type) for name, entry in value.items()}
    if isinstance(value, list) and not types.is_map(kind):
        return [_widened(entry, kind.value_type) for entry in value]
    return value


@contextmanager
def _one_sentence(path: Path, file_format: str) -> Iterator[None]:
    try:
        yield
    except AdaMolmoError:
        raise
    except Exception as error:  # of a damaged file: anything from OSError to UnicodeDecodeError
        reason = " ".join(str(error).split()).rstrip(".")
        raise AdaMolmoError(f"{path}: cannot be read as {file_format} ({reason:.300}).") from error
