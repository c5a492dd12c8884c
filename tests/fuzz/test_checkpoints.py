"""A thousand seeded changes of tables, policies, checkpoints and the prepared model, header and body: one sentence
each, and no changed file of the study's own is read as other numbers.

`python -m pytest tests/fuzz -k checkpoints` runs them.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from damage import damaged, flipped, read_or_refused
from hub_cache import write_released_checkpoint

from adamolmo.backend.prepared import check_prepared
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import Table, read_table, write_table
from adamolmo.files.tensors import read_tensors, write_tensors
from adamolmo.files.training import TRAINING
from adamolmo.model.checkpoint import PREPARED_FILES, Checkpoint, load_model

CHANGES = 1000
ROWS = 50


def samples() -> pd.DataFrame:
    rng = random.Random(0)
    return pd.DataFrame(
        {
            "sample_id": [f"s{row:03d}" for row in range(ROWS)],
            "image_id": [f"i{row // 2}" for row in range(ROWS)],
            "image": [rng.randbytes(64) for _ in range(ROWS)],
            "question": [f"what is {row} ?" for row in range(ROWS)],
            "answers": [[str(row), "x"] for row in range(ROWS)],
        }
    )


def log() -> pd.DataFrame:
    shares = {name: [(row + 0.5) / ROWS for row in range(ROWS)] for name in TRAINING.columns}
    return pd.DataFrame(shares | {"step": range(1, ROWS + 1)})


@pytest.mark.parametrize(("frame", "schema"), [(samples(), SAMPLES), (log(), TRAINING)], ids=["samples", "training"])
@pytest.mark.parametrize("damage", [flipped, damaged])
def test_a_damaged_table_is_refused(frame: pd.DataFrame, schema: Table, damage: Callable, tmp_path):
    path, rng = tmp_path / "table.parquet", random.Random(schema.name)
    write_table(frame, path, schema, {"drift_pct": 1.25})
    whole = path.read_bytes()
    for number in range(CHANGES // 4):
        changed = damage(whole, rng)
        path.write_bytes(changed)
        found = read_or_refused(path, lambda path: read_table(path, schema))
        assert found is None or changed == whole, number


@pytest.mark.parametrize("part", ["header", "body"])
def test_damaged_tensors_are_refused_or_read_the_same(part, tmp_path):
    path, rng = tmp_path / "policy.safetensors", random.Random(part)
    tensors = {
        "encoder.weight": torch.randn(8, 4),
        "bias": torch.ones(3, dtype=torch.bfloat16),
        "steps": torch.tensor(7),
    }
    write_tensors(tensors, path, {"dataset": "okvqa", "scale": 0.5})
    expected, whole = read_tensors(path), path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for number in range(CHANGES // 2):
        damage = damaged if number % 2 else flipped
        path.write_bytes(damage(whole, rng, header if part == "header" else None))
        found = read_or_refused(path, read_tensors)
        assert found is None or is_equal(found, expected), number


def is_equal(found: tuple[dict, dict], expected: tuple[dict, dict]) -> bool:
    return found[1] == expected[1] and all(torch.equal(found[0][name], tensor) for name, tensor in expected[0].items())


@pytest.fixture
def prepared(tiny_model_dir) -> Path:
    return tiny_model_dir


def test_a_prepared_model_that_was_changed_is_refused(prepared):
    rng = random.Random("prepared")
    for number in range(CHANGES):
        path = prepared / PREPARED_FILES[number % len(PREPARED_FILES)]
        whole = path.read_bytes()
        changed = damaged(whole, rng)
        path.write_bytes(changed)
        assert read_or_refused(prepared, lambda path: check_prepared(path) or True) is None or changed == whole
        path.write_bytes(whole)


def test_a_damaged_header_of_a_checkpoint_is_one_sentence(tmp_path, tiny_model, tiny_tokenizer_file):
    """A stranger's checkpoint has no checksum: what is read has the right names, shapes and dtypes at least."""
    write_released_checkpoint(tmp_path, tiny_model, shards=1, dtype=torch.float32)
    shutil.copy(tiny_tokenizer_file, tmp_path / "tokenizer.json")
    (path,) = tmp_path.glob("*.safetensors")
    rng, whole = random.Random("checkpoint"), path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    expected = Checkpoint(tmp_path).shapes
    for _ in range(CHANGES):
        path.write_bytes(damaged(whole, rng, header))
        found = read_or_refused(tmp_path, lambda path: Checkpoint(path).shapes)
        assert found is None or found == expected


def test_a_damaged_index_of_a_checkpoint_is_one_sentence(tmp_path, tiny_model):
    write_released_checkpoint(tmp_path, tiny_model, shards=2, dtype=torch.float32)
    (path,) = tmp_path.glob("*.index.json")
    rng, whole = random.Random("index"), path.read_bytes()
    for _ in range(CHANGES // 10):
        path.write_bytes(damaged(whole, rng))
        read_or_refused(tmp_path, lambda path: load_model(path) and True)
