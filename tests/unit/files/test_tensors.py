"""Safetensors between rules: what is written comes back, and nothing that was changed."""

import pytest
import torch
from safetensors.torch import save_file

from adamolmo.errors import AdaMolmoError
from adamolmo.files.tensors import read_tensors, write_tensors

TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "b": torch.tensor([1.5], dtype=torch.bfloat16),
    "empty": torch.zeros(0, 2),
}


def test_round_trip_and_equal_bytes(tmp_path):
    write_tensors(TENSORS, tmp_path / "x", {"b": 1, "a": [2.5]})
    write_tensors(dict(reversed(TENSORS.items())), tmp_path / "y", {"a": [2.5], "b": 1})
    tensors, info = read_tensors(tmp_path / "x")
    assert info == {"a": [2.5], "b": 1}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize("where", [-1, -8, 12, 100, 180])
def test_a_flipped_bit_is_one_sentence(where, tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(TENSORS, path, {"a": 1})
    whole = bytearray(path.read_bytes())
    whole[where] ^= 1
    path.write_bytes(whole)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: cannot be read as tensors of this study"):
        read_tensors(path)


def test_tensors_of_another_program_are_refused(tmp_path):
    save_file(TENSORS, tmp_path / "x")
    with pytest.raises(AdaMolmoError, match="it has no checksum of this study"):
        read_tensors(tmp_path / "x")
