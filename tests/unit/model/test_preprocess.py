"""Preprocessing beyond the released model's settings: small crops, other margins, extreme and bad images."""

import numpy as np
import pytest
import torch
from PIL import Image

from adamolmo.errors import AdaMolmoError
from adamolmo.model.preprocess import (
    PreprocessConfig,
    image_token_ids,
    num_image_tokens,
    num_pictures,
    preprocess,
    preprocess_overview,
    select_tiling,
)
from adamolmo.model.tokenizer import SpecialTokens

SMALL = PreprocessConfig(crop_size=(48, 48), patch_size=6, overlap_margins=(0, 0), mean=(0.5,) * 3, std=(0.25,) * 3)
SPECIALS = SpecialTokens(eos=0, im_start=1, im_end=2, im_patch=3, im_col=4, image=5)
CONFIGS = [
    PreprocessConfig(),
    SMALL,
    PreprocessConfig(crop_size=(48, 60), patch_size=6, overlap_margins=(2, 4), pooling=(2, 2)),
    PreprocessConfig(crop_size=(48, 48), patch_size=6, overlap_margins=(1, 1), pooling=(1, 1)),
]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("max_crops", "tiling"), [(1, (1, 1)), (4, (2, 2)), (9, (3, 3))])
def test_small_crops_without_margins_tile_the_image(max_crops, tiling):
    image = noise(144, 144)
    crops = preprocess(image, 1, max_crops, SMALL)
    assert crops.tiling == tiling
    assert crops.pixels.shape == (1 + max_crops, 64, 108)
    assert crops.patch_positions.shape == (1 + max_crops, 16)
    assert (crops.masks[:-1] == 1).all() and (crops.masks[-1] == -1).all()
    assert (crops.patch_positions >= 0).all()


def test_unscaled_grid_holds_the_image_itself():
    """At 3x3 the canvas is the image: crop 5 is its middle row's right third, patch 9 the second of the second row."""
    image = noise(144, 144)
    patch = preprocess(image, 1, 9, SMALL).pixels[1 + 5, 9].reshape(6, 6, 3)
    expected = (image[48 + 6 : 48 + 12, 96 + 6 : 96 + 12] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(patch, expected, atol=1e-5)


def test_crop_range():
    assert select_tiling(144, 144, 1, 9, SMALL) == (3, 3)
    assert select_tiling(48, 48, 1, 9, SMALL) == (1, 1)
    assert select_tiling(48, 48, 4, 4, SMALL) == (1, 4)  # none needs less upscaling, and it has the fewest rows
    assert select_tiling(144, 288, 2, 2, SMALL) == (1, 2)
    assert select_tiling(288, 144, 2, 2, SMALL) == (2, 1)
    for image in ((1, 1), (112, 112), (5, 700), (700, 5), (640, 480)):
        rows, cols = select_tiling(*image, 4, 6, PreprocessConfig())
        assert 4 <= rows * cols <= 6


@pytest.mark.parametrize("crop_range", [(0, 3), (4, 3), (-1, -1)])
def test_bad_crop_range(crop_range):
    with pytest.raises(AdaMolmoError, match=f"crop range {crop_range[0]}\\.\\.{crop_range[1]}"):
        select_tiling(10, 10, *crop_range, SMALL)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1), (7, 3), (200, 300), (300, 200)])
def test_every_grid_token_is_placed_once(config, size):
    for max_crops in (1, 2, 6, 12):
        crops = preprocess(noise(*size), 1, max_crops, config)
        assert torch.isfinite(crops.pixels).all()
        positions = crops.patch_positions[crops.patch_positions >= 0]
        ids = torch.tensor(image_token_ids(crops.tiling, config, SPECIALS))
        assert len(ids) == num_image_tokens(crops.tiling, config)
        assert torch.equal(positions.sort().values, (ids == SPECIALS.im_patch).nonzero().squeeze(1))


@pytest.mark.parametrize("config", CONFIGS)
def test_positions_follow_the_image(config):
    """A token's place in the stitched grid is the place of its pixels in the canvas."""
    crops = preprocess(noise(300, 300), 4, 4, config)
    grid_rows, grid_cols = config.grid_tokens(crops.tiling)
    grid_start = num_image_tokens(crops.tiling, config) - 1 - grid_rows * (grid_cols + 1)
    token_px = [config.patch_size * window for window in config.pooling]
    seen = []
    for crop, positions in enumerate(crops.patch_positions[1:].tolist()):
        crop_row, crop_col = divmod(crop, crops.tiling[1])
        for index, position in enumerate(positions):
            if position >= 0:
                token_row, token_col = divmod(index, config.crop_tokens[1])
                row = crop_row * config.window_px[0] // token_px[0] + token_row
                col = crop_col * config.window_px[1] // token_px[1] + token_col
                assert position == grid_start + row * (grid_cols + 1) + col
                seen.append(position)
    assert len(seen) == grid_rows * grid_cols


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(144, 144), (336, 336), (97, 311)])
def test_overview_is_crop_0(config, size):
    image = noise(*size)
    for max_crops in (1, 6):
        assert torch.equal(preprocess_overview(image, config), preprocess(image, 1, max_crops, config).pixels[:1])


@pytest.mark.parametrize("size", [(480, 640), (40, 900), (7, 5)])
@pytest.mark.parametrize("config", CONFIGS)
def test_a_grid_of_one_crop_shows_what_the_overview_shows(config, size):
    """What lets the vision tower see it once."""
    image = noise(*size)
    crops = preprocess(image, 1, 1, config)
    assert len(crops.pixels) == 2 and num_pictures(2) == 1
    assert torch.equal(crops.pixels, preprocess_overview(image, config).expand(2, -1, -1))
    assert [num_pictures(num_crops) for num_crops in (3, 5, 17)] == [3, 5, 17]


def test_padding_is_black_before_normalisation_and_masked():
    crops = preprocess(np.full((24, 48, 3), 255, dtype=np.uint8), 1, 1, SMALL)
    black, white = -2.0, 2.0
    overview = crops.pixels[0].reshape(8, 8, 108)
    assert (overview[:2] == black).all() and (overview[6:] == black).all()
    torch.testing.assert_close(overview[2:6], torch.full((4, 8, 108), white))
    mask = crops.masks[0].reshape(8, 8)
    assert (mask[2:6] == 1).all() and mask.sum() == 32


def test_partly_padded_patch_has_its_share():
    crops = preprocess(np.zeros((30, 48, 3), dtype=np.uint8), 1, 1, SMALL)  # 9 px above, 30 px image, 9 px below
    mask = crops.masks[0].reshape(8, 8)
    torch.testing.assert_close(mask[:, 0], torch.tensor([0, 0.5, 1, 1, 1, 1, 0.5, 0]))


def test_pil_and_array_agree_and_input_is_untouched():
    image = noise(60, 90)
    before = image.copy()
    first = preprocess(Image.fromarray(image), 1, 6, SMALL)
    assert torch.equal(first.pixels, preprocess(image, 1, 6, SMALL).pixels)
    assert np.array_equal(image, before)


def test_pil_modes_and_orientation():
    grey = Image.fromarray(noise(60, 90)).convert("L")
    assert torch.equal(preprocess(grey, 1, 1, SMALL).pixels, preprocess(grey.convert("RGB"), 1, 1, SMALL).pixels)
    turned = Image.fromarray(noise(60, 90))
    turned.getexif()[0x0112] = 6  # "rotate by 90 degrees to view"
    assert preprocess(turned, 1, 2, SMALL).tiling == (2, 1)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]"),
    ],
)
def test_bad_array(array, found):
    with pytest.raises(AdaMolmoError, match=found):
        preprocess(array, 1, 1, SMALL)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"crop_size": (50, 48)}, "crop_size"),
        ({"overlap_margins": (1, 2)}, "overlap_margins"),
        ({"pooling": (3, 3)}, "pooling"),
        ({"overlap_margins": (4, 4)}, "overlap_margins"),
    ],
)
def test_bad_config(settings, named):
    with pytest.raises(AdaMolmoError, match=named):
        PreprocessConfig(**{"crop_size": (48, 48), "patch_size": 6, "overlap_margins": (0, 0)} | settings)
