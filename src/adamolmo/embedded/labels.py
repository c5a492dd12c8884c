"""What each image token of each crop shows, and which questions a tier can answer."""

import numpy as np

from adamolmo.data.procedural import COLOURS, SHAPES, Placed, Question, Scene, Size
from adamolmo.model.preprocess import PreprocessConfig

PART_LABELS = ("sign", *SHAPES, "rectangle", *map(str, range(10)))  # the rectangle, and four colours, are easy-VQA's
COLOUR_LABELS = (*COLOURS, "black", "gray", "teal", "brown")
EMPTY = len(PART_LABELS)
IGNORED = -100  # neither something nor nothing: too small, or mostly in the next token

_MOSTLY = 0.4  # share of a token that a part covers, or of a part that lies in a token
_BARELY = 0.08


def legible_px(size: Size, tiling: tuple[int, int], config: PreprocessConfig) -> float:
    """Pixels of an image of this size (width, height) that a patch shows in the crops of a tiling (rows, columns)."""
    return config.patch_size / _scale(size, config.canvas_px(tiling))


def _scale(size: Size, canvas_px: tuple[int, int]) -> float:
    return min(canvas_px[0] / size[1], canvas_px[1] / size[0])


def token_boxes(size: Size, tiling: tuple[int, int], config: PreprocessConfig) -> np.ndarray:
    """Where each token of the overview and of the grid's crops lies on the image: (left, top, right, bottom) in its
    pixels, [1 + crops, tokens, 4]. Without overlap margins, as the embedded model has them."""
    (token_rows, token_columns), (rows, columns) = config.crop_tokens, tiling
    grid = _canvas_boxes(size, config.canvas_px(tiling), (rows * token_rows, columns * token_columns))
    grid = grid.reshape(rows, token_rows, columns, token_columns, 4).transpose(0, 2, 1, 3, 4)
    overview = _canvas_boxes(size, config.crop_size, config.crop_tokens)
    return np.concatenate([overview.reshape(1, -1, 4), grid.reshape(rows * columns, -1, 4)])


def _canvas_boxes(size: Size, canvas_px: tuple[int, int], tokens: tuple[int, int]) -> np.ndarray:
    """Boxes of a canvas's tokens on the image that is centred in it: [rows, columns, 4]."""
    scale = _scale(size, canvas_px)
    tops, lefts = (
        (np.arange(number + 1) * (length // number) - (length - int(side * scale)) // 2) / scale
        for length, number, side in zip(canvas_px, tokens, size[::-1], strict=True)
    )
    left, top = np.meshgrid(lefts[:-1], tops[:-1])
    right, bottom = np.meshgrid(lefts[1:], tops[1:])
    return np.stack([left, top, right, bottom], axis=-1)


def token_labels(parts: list[Placed], boxes: np.ndarray) -> np.ndarray:
    """Labels of the tokens at `boxes`, [crops, tokens, 4]: (part, colour), [crops, tokens, 2].

    A token shows a part that has its middle there, or that is mostly there; later parts (digits) hide earlier ones
    (their sign). What a part barely touches is EMPTY, with colour 0. IGNORED are tokens that show some of a part, the
    middles of two parts, or a part that is smaller than a patch of their crop.
    """
    labels = np.zeros((*boxes.shape[:-1], 2), np.int64)
    labels[..., 0] = EMPTY
    middles = np.zeros(boxes.shape[:-1], int)
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    token_px = (right - left)[:, :1]  # of each crop
    for part in parts:
        first_x, first_y, last_x, last_y = part.box
        width = np.clip(np.minimum(right, last_x) - np.maximum(left, first_x), 0, None)
        height = np.clip(np.minimum(bottom, last_y) - np.maximum(top, first_y), 0, None)
        part_area, token_area = (last_x - first_x) * (last_y - first_y), (right - left) * (bottom - top)
        covered = width * height / np.minimum(token_area, part_area)
        x, y = (first_x + last_x) / 2, (first_y + last_y) / 2
        middle = (left <= x) & (x < right) & (top <= y) & (y < bottom)
        shown = middle | (covered > _MOSTLY)
        legible = token_px <= 2 * smallest_side(part)
        hides = np.isin(labels[..., 0], (EMPTY, PART_LABELS.index("sign")))
        labels[(covered > _BARELY) & hides] = IGNORED, 0
        labels[shown & legible] = PART_LABELS.index(part.label), COLOUR_LABELS.index(part.colour)
        if part.label != "sign":
            middles += middle
    labels[middles > 1] = IGNORED, 0
    return labels


def smallest_side(part: Placed) -> float:
    """What makes a part legible. Digits are narrower than they are high; their height counts."""
    left, top, right, bottom = part.box
    return bottom - top if part.label.isdigit() else min(right - left, bottom - top)


def answerable(scene: Scene, smallest_px: float) -> list[Question]:
    """The questions that mention nothing smaller than `smallest_px`: what a tier cannot show is not worth learning
    from."""
    too_small = [part for part in scene.parts if smallest_side(part) < smallest_px]
    hidden = {part.label for part in too_small} | {part.colour for part in too_small}
    return [question for question in scene.questions if not hidden & set(question.text.replace("?", " ").split())]
