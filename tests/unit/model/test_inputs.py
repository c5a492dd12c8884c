"""Assembling one request and batching several."""

import numpy as np
import pytest
import torch

from adamolmo.errors import AdaMolmoError
from adamolmo.model.inputs import build_inputs, collate
from adamolmo.model.preprocess import PreprocessConfig, num_image_tokens, preprocess
from adamolmo.model.tokenizer import SpecialTokens

CONFIG = PreprocessConfig(crop_size=(48, 48), patch_size=6, overlap_margins=(2, 2))
SPECIALS = SpecialTokens(eos=90, im_start=91, im_end=92, im_patch=93, im_col=94, image=95)


def request(max_crops: int, question: list[int]):
    image = np.random.default_rng(max_crops).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    return build_inputs(question, preprocess(image, 1, max_crops, CONFIG), CONFIG, SPECIALS)


def test_sequence_is_bos_image_question():
    inputs = request(4, [5, 6, 7])
    num_tokens = num_image_tokens((2, 2), CONFIG)
    assert inputs.input_ids.dtype == torch.int64 and inputs.input_ids.shape == (1, 1 + num_tokens + 3)
    assert inputs.input_ids[0, :2].tolist() == [SPECIALS.eos, SPECIALS.im_start]
    assert inputs.input_ids[0, -4:].tolist() == [SPECIALS.im_end, 5, 6, 7]
    assert (inputs.attention_mask == 1).all() and inputs.attention_mask.shape == inputs.input_ids.shape
    assert inputs.pixels.shape == (1, 5, 64, 108) and inputs.masks.shape == (1, 5, 64)
    placed = inputs.image_input_idx[inputs.image_input_idx >= 0]
    assert placed.unique().numel() == placed.numel() == (inputs.input_ids == SPECIALS.im_patch).sum()
    assert (inputs.input_ids[0, placed] == SPECIALS.im_patch).all()
    assert (inputs.image_input_idx < 0).any()


def test_crops_alone_take_the_dtype_of_the_model():
    inputs = request(4, [5, 6, 7])
    moved = inputs.to(torch.device("cpu"), torch.bfloat16)
    assert moved.pixels.dtype == moved.masks.dtype == torch.bfloat16
    assert torch.equal(moved.pixels, inputs.pixels.bfloat16()) and torch.equal(moved.masks, inputs.masks.bfloat16())
    for name in ("input_ids", "attention_mask", "image_input_idx"):
        assert torch.equal(getattr(moved, name), getattr(inputs, name))


def test_collate_pads_on_the_right():
    long, short = request(4, [5]), request(1, [5, 6, 7])
    batch = collate([short, long])
    length, crops = short.input_ids.shape[1], short.pixels.shape[1]
    assert length < long.input_ids.shape[1] and crops < long.pixels.shape[1]
    for name in ("input_ids", "attention_mask", "pixels", "masks", "image_input_idx"):
        assert torch.equal(getattr(batch, name)[1:], getattr(long, name)), name
        assert getattr(batch, name).dtype == getattr(long, name).dtype, name
    assert torch.equal(batch.input_ids[:1, :length], short.input_ids)
    assert (batch.input_ids[0, length:] == -1).all()
    assert batch.attention_mask[0].sum() == length and (batch.attention_mask[0, length:] == 0).all()
    for name in ("pixels", "masks", "image_input_idx"):
        assert torch.equal(getattr(batch, name)[:1, :crops], getattr(short, name)), name
        assert (getattr(batch, name)[0, crops:] == -1).all(), name


def test_collate_of_one_is_itself():
    one = request(4, [5])
    batch = collate([one])
    assert torch.equal(batch.input_ids, one.input_ids) and torch.equal(batch.pixels, one.pixels)


def test_nothing_to_build():
    with pytest.raises(AdaMolmoError, match="no tokens"):
        request(1, [])
    with pytest.raises(AdaMolmoError, match="no rows"):
        collate([])
