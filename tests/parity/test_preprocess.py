"""Tilings, crops, masks and token positions against the released preprocessor, for every image of the index."""

import numpy as np
import pytest
import torch
from PIL import Image

from adamolmo.model.inputs import build_inputs
from adamolmo.model.preprocess import image_token_ids, num_image_tokens, preprocess, select_tiling
from adamolmo.model.tokenizer import SPECIAL_NAMES, SpecialTokens


@pytest.fixture(scope="module")
def specials(index):
    return SpecialTokens(**{field: index["special_token_ids"][name] for field, name in SPECIAL_NAMES.items()})


def cases(index):
    """(image name, its entry, max_crops, the expected facts) of every case the reference could run."""
    found = [
        (name, entry, int(max_crops), expected)
        for name, entry in index["images"].items()
        for max_crops, expected in entry["max_crops"].items()
    ]
    assert found, "index.json lists no max_crops case"
    return found


def test_tiling(index, config):
    for name, entry, max_crops, expected in cases(index):
        tiling = select_tiling(entry["height"], entry["width"], 1, max_crops, config)
        assert list(tiling) == expected["tiling"], (name, max_crops)
        if "resized_canvas" in expected:
            assert list(config.canvas_px(tiling)) == expected["resized_canvas"], (name, max_crops)


def test_token_counts_of_every_listed_tiling(index, config, specials):
    for name, entry in index["images"].items():
        for expected in (*entry["exact_num_crops"].values(), *entry["tier"].values(), *entry["max_crops"].values()):
            if expected.get("reference_raises"):
                continue
            tiling = tuple(expected["tiling"])
            ids = image_token_ids(tiling, config, specials)
            assert len(ids) == num_image_tokens(tiling, config) == expected["n_image_tokens"], (name, tiling)
            assert ids.count(specials.im_patch) == expected["n_patch_tokens"], (name, tiling)
            assert tiling[0] * tiling[1] + 1 == expected["n_crops_total"], (name, tiling)


def test_crops_masks_and_positions(golden, index, config, specials):
    for name, entry, max_crops, expected in cases(index):
        case = (name, max_crops)
        crops = preprocess(Image.open(golden / "preprocess" / entry["file"]), 1, max_crops, config)
        assert list(crops.tiling) == expected["tiling"], case
        if expected.get("reference_raises"):
            assert torch.isfinite(crops.pixels).all(), case
            continue

        assert list(crops.pixels.shape) == expected["crops_shape"], case
        assert int((crops.patch_positions < 0).sum()) == expected["n_dropped"], case
        with np.load(golden / "preprocess" / "expected" / f"{name}.npz") as arrays:
            want = {
                key.removeprefix(f"mc{max_crops}_"): arrays[key] for key in arrays if key.startswith(f"mc{max_crops}_")
            }
        np.testing.assert_array_equal(crops.patch_positions, want["patch_idx"], str(case))
        np.testing.assert_allclose(crops.masks, want["image_masks"], atol=1e-6, rtol=0, err_msg=str(case))
        sub = crops.pixels.flatten()[:: index["stride"]]
        np.testing.assert_allclose(sub, want["crops_sub"], atol=1e-3, rtol=0, err_msg=str(case))
        pixels = crops.pixels.double().flatten(1)
        mean_std = torch.stack([pixels.mean(1), pixels.std(1, correction=0)], 1)
        np.testing.assert_allclose(mean_std, want["crop_stats"][:, :2], atol=1e-4, rtol=0, err_msg=str(case))
        extremes = torch.stack([pixels.amin(1), pixels.amax(1)], 1)
        np.testing.assert_allclose(extremes, want["crop_stats"][:, 2:], atol=1e-3, rtol=0, err_msg=str(case))

        assert image_token_ids(crops.tiling, config, specials) == want["image_tokens"].tolist(), case
        inputs = build_inputs(index["prompt_token_ids"], crops, config, specials)
        assert inputs.input_ids.shape == (1, expected["n_input_tokens"]), case
        np.testing.assert_array_equal(inputs.input_ids[0], want["input_tokens"], str(case))
        np.testing.assert_array_equal(inputs.image_input_idx[0], want["image_input_idx"], str(case))
