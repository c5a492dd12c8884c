"""Image preprocessing of MolmoE: one image becomes an overview crop and a grid of overlapping high-resolution crops.

Method: Molmo (Deitke et al. 2024), crop mode "overlap-and-resize-c2". Three things are called by different names:
a *patch* is what the vision tower reads (14 px), a *token* is a pooled window of patches (2x2), a *crop* is the square
that the tower reads at once (336 px = 24x24 patches = 12x12 tokens). Neighbouring crops overlap by the two margins; a
token inside a margin that a neighbour covers is dropped, so the grid's tokens tile the canvas without overlap.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from adamolmo.data import images
from adamolmo.errors import AdaMolmoError
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.tokenizer import SpecialTokens

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
DROPPED = -100
NO_MASK = -1.0


@dataclass(frozen=True)
class CropRange:
    """How many high-resolution crops a vision tier of MolmoE may cut an image into (the overview crop comes on top)."""

    min_crops: int
    max_crops: int


@dataclass(frozen=True)
class PreprocessConfig:
    """Geometry and normalisation. Pairs are (height, width); the margins are (left/top, right/bottom) in patches.

    Raises AdaMolmoError if patches do not tile the crop or pooling windows do not tile the crop and its margins.
    """

    crop_size: tuple[int, int] = (336, 336)
    patch_size: int = 14
    overlap_margins: tuple[int, int] = (4, 4)
    pooling: tuple[int, int] = (2, 2)
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @classmethod
    def of_model(cls, config: MolmoEConfig) -> "PreprocessConfig":
        """What a model's own configuration says; CLIP's normalisation."""
        return cls(config.vision.image_size, config.vision.patch_size, config.overlap_margins, config.pooling)

    def __post_init__(self) -> None:
        if any(side % self.patch_size for side in self.crop_size):
            raise AdaMolmoError(
                f"crop_size {self.crop_size} is not a multiple of patch_size {self.patch_size}: expected whole patches"
            )
        for side, window in zip(self.crop_patches, self.pooling, strict=True):
            if any(length % window for length in (side, *self.overlap_margins)):
                raise AdaMolmoError(
                    f"pooling window {window} must divide the crop side ({side} patches) "
                    f"and overlap_margins {self.overlap_margins}"
                )
            if sum(self.overlap_margins) >= side:
                raise AdaMolmoError(f"overlap_margins {self.overlap_margins} leave nothing of a crop of {side} patches")

    @property
    def crop_patches(self) -> tuple[int, int]:
        return self.crop_size[0] // self.patch_size, self.crop_size[1] // self.patch_size

    @property
    def patches_shape(self) -> tuple[int, int]:
        """Patches of a crop, values of a patch."""
        rows, cols = self.crop_patches
        return rows * cols, self.patch_size**2 * 3

    @property
    def crop_tokens(self) -> tuple[int, int]:
        rows, cols = self.crop_patches
        return rows // self.pooling[0], cols // self.pooling[1]

    @property
    def window_px(self) -> tuple[int, int]:
        """Distance between the origins of neighbouring crops: a crop without its margins."""
        return self.crop_size[0] - self.margin_px, self.crop_size[1] - self.margin_px

    @property
    def margin_px(self) -> int:
        return sum(self.overlap_margins) * self.patch_size

    def canvas_px(self, tiling: tuple[int, int]) -> tuple[int, int]:
        """Size of the image that the grid is cut from."""
        return tuple(n * window + self.margin_px for n, window in zip(tiling, self.window_px, strict=True))

    def grid_tokens(self, tiling: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the stitched grid, in tokens."""
        token_px = (self.patch_size * self.pooling[0], self.patch_size * self.pooling[1])
        return tuple(side // size for side, size in zip(self.canvas_px(tiling), token_px, strict=True))


@dataclass(frozen=True)
class ImageCrops:
    """One preprocessed image; crop 0 is the overview, then the grid row by row.

    pixels: float32 [crops, patches, patch*patch*3], normalised, values ordered (row, column, rgb) inside a patch.
    masks: float32 [crops, patches], share of the patch that is image and not padding. As in the released model the
        rows are those of the grid's crops followed by one row of -1: they are NOT shifted by the overview being crop 0.
        The trained weights expect this.
    patch_positions: int64 [crops, tokens per crop], index into `image_token_ids`, negative = dropped.
    tiling: rows and columns of the grid, in crops.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    patch_positions: torch.Tensor
    tiling: tuple[int, int]


@lru_cache
def _candidates(min_crops: int, max_crops: int) -> np.ndarray:
    """All (rows, cols) with min_crops <= rows*cols <= max_crops, in order of preference on a tie: fewer crops, rows."""
    if not 1 <= min_crops <= max_crops:
        raise AdaMolmoError(f"crop range {min_crops}..{max_crops}: expected 1 <= min_crops <= max_crops")
    pairs = [(r, c) for r in range(1, max_crops + 1) for c in range(1, max_crops // r + 1) if r * c >= min_crops]
    return np.array(sorted(pairs, key=lambda pair: (pair[0] * pair[1], pair[0])))


def select_tiling(
    height_px: int, width_px: int, min_crops: int, max_crops: int, config: PreprocessConfig
) -> tuple[int, int]:
    """Rows and columns of the grid that needs the least upscaling, or if none is large enough, the least downscaling.

    With min_crops 1 this is Molmo's rule exactly, in float32 as there: also for images smaller than the margins, whose
    remaining size is zero or negative. Raises AdaMolmoError for an empty crop range.
    """
    candidates = _candidates(min_crops, max_crops)
    inner_px = np.array([height_px - config.margin_px, width_px - config.margin_px], dtype=np.float32)
    with np.errstate(divide="ignore"):
        scale = ((candidates * config.window_px).astype(np.float32) / inner_px).min(axis=1)
    enough = scale >= 1
    best = np.where(enough, scale, np.inf).argmin() if enough.any() else scale.argmax()
    rows, cols = candidates[best].tolist()
    return rows, cols


@lru_cache(maxsize=4096)
def image_size(
    height_px: int, width_px: int, min_crops: int, max_crops: int, config: PreprocessConfig
) -> tuple[int, int]:
    """Crops that `preprocess` makes of an image, the overview included, and the tokens that they become."""
    rows, cols = select_tiling(height_px, width_px, min_crops, max_crops, config)
    return 1 + rows * cols, num_image_tokens((rows, cols), config)


def num_pictures(num_crops: int) -> int:
    """Different pictures among an image's crops: a grid of one crop shows, pixel for pixel, what the overview shows."""
    return 1 if num_crops == 2 else num_crops


@lru_cache
def most_image_tokens(min_crops: int, max_crops: int, config: PreprocessConfig) -> int:
    """Image tokens of the image that has most of them."""
    return max(num_image_tokens(tuple(tiling), config) for tiling in _candidates(min_crops, max_crops).tolist())


def _as_rgb_tensor(image: Image.Image | np.ndarray) -> torch.Tensor:
    """float32 [3, height, width] in [0, 1]."""
    if isinstance(image, Image.Image):
        image = np.array(images.as_rgb(image))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise AdaMolmoError(f"image array is {image.dtype} {list(image.shape)}: expected uint8 [height, width, 3]")
    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
    return torch.from_numpy(channels_first).to(torch.float32).div_(255)


def _fit(rgb: torch.Tensor, canvas_px: tuple[int, int], config: PreprocessConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Resizes into the canvas keeping the aspect, centres, pads with black and normalises.

    Returns the canvas [3, height, width] and the share of each of its patches that is image [patch rows, patch cols].
    """
    scale = (np.array(canvas_px, dtype=np.float32) / np.array(rgb.shape[1:], dtype=np.float32)).min()
    height, width = (max(int(np.float32(side) * scale), 1) for side in rgb.shape[1:])
    resized = torch.nn.functional.interpolate(rgb[None], (height, width), mode="bilinear", antialias=True)[0]

    mean, std = torch.tensor(config.mean)[:, None, None], torch.tensor(config.std)[:, None, None]
    rows, cols = (
        slice((outer - inner) // 2, (outer - inner) // 2 + inner)
        for outer, inner in zip(canvas_px, (height, width), strict=True)
    )
    canvas = (-mean / std).expand(3, *canvas_px).clone()
    torch.div(resized.sub_(mean), std, out=canvas[:, rows, cols])

    is_image_row, is_image_col = torch.zeros(canvas_px[0]), torch.zeros(canvas_px[1])
    is_image_row[rows] = 1
    is_image_col[cols] = 1
    row_share = is_image_row.view(-1, config.patch_size).mean(1)
    col_share = is_image_col.view(-1, config.patch_size).mean(1)
    return canvas, row_share[:, None] * col_share


def _cut_crops(canvas: torch.Tensor, out: torch.Tensor, config: PreprocessConfig) -> None:
    """Writes the crops of a canvas [3, height, width] to `out` [crops, patches, patch*patch*3]."""
    size = config.patch_size
    (height, width), (step_down, step_right) = config.crop_size, config.window_px
    crops = canvas.unfold(1, height, step_down).unfold(2, width, step_right)
    crops = crops.unflatten(4, (-1, size)).unflatten(3, (-1, size))  # [rgb, r, c, rows, size, cols, size]
    crops = crops.permute(1, 2, 3, 5, 4, 6, 0)
    out.view(crops.shape).copy_(crops)


def _cut_masks(patch_share: torch.Tensor, config: PreprocessConfig) -> torch.Tensor:
    """[patch rows, patch cols] -> [crops, patches]."""
    (rows, cols), margin = config.crop_patches, sum(config.overlap_margins)
    crops = patch_share.unfold(0, rows, rows - margin).unfold(1, cols, cols - margin)
    return crops.reshape(-1, rows * cols)


@lru_cache
def _patch_positions(tiling: tuple[int, int], config: PreprocessConfig) -> torch.Tensor:
    """Index of every pooled token of every crop in the image token sequence, DROPPED inside covered margins.

    The tensor is shared between images of the same tiling: read only.
    """
    rows, cols = config.crop_tokens
    overview = 1 + torch.arange(rows)[:, None] * (cols + 1) + torch.arange(cols)

    def axis(n_crops: int, n_tokens: int, pooling: int) -> tuple[torch.Tensor, torch.Tensor]:
        before, after = (margin // pooling for margin in config.overlap_margins)
        crop, token = torch.arange(n_crops)[:, None], torch.arange(n_tokens)
        kept = ((token >= before) | (crop == 0)) & ((token < n_tokens - after) | (crop == n_crops - 1))
        return crop * (n_tokens - before - after) + token, kept

    row, row_kept = axis(tiling[0], rows, config.pooling[0])
    col, col_kept = axis(tiling[1], cols, config.pooling[1])
    grid_start = num_overview_tokens(config) + 1
    grid_row_length = config.grid_tokens(tiling)[1] + 1
    position = grid_start + row[:, None, :, None] * grid_row_length + col[None, :, None, :]
    kept = row_kept[:, None, :, None] & col_kept[None, :, None, :]
    grid = torch.where(kept, position, DROPPED).reshape(-1, rows * cols)
    return torch.cat([overview.reshape(1, -1), grid])


def preprocess(image: Image.Image | np.ndarray, min_crops: int, max_crops: int, config: PreprocessConfig) -> ImageCrops:
    """Overview and high-resolution crops of an image (PIL, or uint8 [height, width, 3]).

    Raises AdaMolmoError for another array, an image that cannot be made RGB, or an empty crop range.
    """
    rgb = _as_rgb_tensor(image)
    tiling = select_tiling(rgb.shape[1], rgb.shape[2], min_crops, max_crops, config)
    grid, patch_share = _fit(rgb, config.canvas_px(tiling), config)
    overview = grid if tiling == (1, 1) else _fit(rgb, config.crop_size, config)[0]
    pixels = torch.empty(1 + tiling[0] * tiling[1], *config.patches_shape)
    _cut_crops(overview, pixels[:1], config)
    _cut_crops(grid, pixels[1:], config)
    masks = _cut_masks(patch_share, config)
    return ImageCrops(
        pixels=pixels,
        masks=torch.cat([masks, torch.full_like(masks[:1], NO_MASK)]),
        patch_positions=_patch_positions(tiling, config),
        tiling=tiling,
    )


def preprocess_overview(image: Image.Image | np.ndarray, config: PreprocessConfig) -> torch.Tensor:
    """Pixels of the overview alone, float32 [1, patches, patch*patch*3]: crop 0 of `preprocess` at any crop range.

    It has no mask of its own: the mask that goes with it depends on the tiling (see ImageCrops).
    """
    overview, _ = _fit(_as_rgb_tensor(image), config.crop_size, config)
    pixels = torch.empty(1, *config.patches_shape)
    _cut_crops(overview, pixels, config)
    return pixels


def num_overview_tokens(config: PreprocessConfig) -> int:
    rows, cols = config.crop_tokens
    return rows * (cols + 1) + 2


def num_image_tokens(tiling: tuple[int, int], config: PreprocessConfig) -> int:
    """Length of `image_token_ids`: both images with a column token per row, each between a start and an end token."""
    rows, cols = config.grid_tokens(tiling)
    return num_overview_tokens(config) + rows * (cols + 1) + 2


def image_token_ids(tiling: tuple[int, int], config: PreprocessConfig, specials: SpecialTokens) -> list[int]:
    """The image's part of the prompt: the overview, then the stitched grid, each row by row."""
    ids = []
    for rows, cols in (config.crop_tokens, config.grid_tokens(tiling)):
        row = [specials.im_patch] * cols + [specials.im_col]
        ids += [specials.im_start, *row * rows, specials.im_end]
    return ids
