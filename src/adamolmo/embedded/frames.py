"""Pictures of any size, in which things stand anywhere and are of any size.

The study's scenes are of four sizes, with things on the grid of image tokens. A part of such a scene, enlarged or
reduced and moved into a frame of another size, is neither.
"""

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from adamolmo.data.procedural import CANVASES_PX, Placed, Scene, Size

_SIDES_PX = (64, 224)  # of frames: from easy-VQA's pictures to more than the largest canvas
_MOST_OBLONG = 2.5
_LARGEST_FACTOR = 2.0


def frame_size(rng: np.random.Generator, off_grid: bool) -> Size:
    """Width and height of the pictures of a batch: one of the study's, or any."""
    if not off_grid:
        return CANVASES_PX[rng.integers(len(CANVASES_PX))]
    longer = rng.uniform(*_SIDES_PX)
    shorter = max(_SIDES_PX[0], longer / math.exp(rng.uniform(0, math.log(_MOST_OBLONG))))
    sides = round(longer), round(shorter)
    return sides if rng.random() < 0.5 else sides[::-1]


def canvas_for(size: Size) -> Size:
    """The study's canvas whose proportions are nearest to a frame's; of the two square ones the large one."""
    return min(CANVASES_PX, key=lambda canvas: abs(math.log(canvas[0] * size[1] / (canvas[1] * size[0]))))


def reframed(scene: Scene, size: Size, rng: np.random.Generator) -> Scene:
    """The scene's things in a picture of this size (width, height): all of them, in a random place and enlarged or
    reduced together. Needs a scene that has parts."""
    boxes = np.array([part.box for part in scene.parts])
    around = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)  # (left, top), (right, bottom)
    largest = min(_LARGEST_FACTOR, *(np.array(size) / (around[1] - around[0])))
    factor = largest * rng.uniform(0.7, 1)
    image = scene.image.resize(
        tuple(max(1, round(side * factor)) for side in scene.image.size), Image.Resampling.BILINEAR
    )
    # The frame's corner on the resized image, so that all things are inside.
    corner = [
        round(rng.uniform(last * factor - side, first * factor))
        for first, last, side in zip(*around, size, strict=True)
    ]
    parts = [_moved(part, factor, corner) for part in scene.parts]
    return replace(scene, image=_cut(image, corner, size, rng), parts=parts)


def _moved(part: Placed, factor: float, corner: list[int]) -> Placed:
    left, top, right, bottom = (factor * value - corner[i % 2] for i, value in enumerate(part.box))
    return replace(part, box=(left, top, right, bottom))


def _cut(image: Image.Image, corner: list[int], size: Size, rng: np.random.Generator) -> Image.Image:
    """A window of the image, with something dark beyond its edge."""
    result = Image.new("RGB", size, tuple(map(int, rng.integers(25, 60, 3))))
    result.paste(image, (-corner[0], -corner[1]))
    return result
