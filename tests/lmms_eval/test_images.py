"""The images of lmms-eval's documents are read where the study's are."""

import io

import numpy as np
import pytest

from adamolmo.errors import AdaMolmoError

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")

import datasets
from PIL import Image

from adamolmo.lmms_eval.data import task_data


def document(image: Image.Image, damage: int | None = None) -> datasets.Dataset:
    file = io.BytesIO()
    image.save(file, format="PNG")
    features = datasets.Features({"image": datasets.Image()})
    return datasets.Dataset.from_dict({"image": [{"bytes": file.getvalue()[:damage], "path": None}]}, features)


def test_16_bit_grey_is_scaled(tmp_path):
    documents = document(Image.fromarray(np.full((4, 4), 32896, np.uint16)))
    with task_data(tmp_path):
        image = documents[0]["image"]
    assert image.mode == "RGB" and image.getpixel((0, 0)) == (128, 128, 128)


def test_a_damaged_image_is_one_sentence(tmp_path):
    documents = document(Image.new("RGB", (40, 40)), damage=50)
    with task_data(tmp_path), pytest.raises(AdaMolmoError, match="an image of the task's documents cannot be read"):
        documents[0]


def test_a_too_large_image_is_one_sentence(tmp_path):
    documents = document(Image.new("RGB", (40, 40)))
    with task_data(tmp_path, max_pixels=1599), pytest.raises(AdaMolmoError, match="40 x 40 px; expected at most"):
        documents[0]
