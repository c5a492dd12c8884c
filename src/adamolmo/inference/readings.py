"""What controllers read of an image before the tier is known; requests and training features share these functions."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamolmo.data.images import as_rgb

THUMBNAIL_PX = 64


def summarise_overview(patches: Tensor) -> Tensor:
    """Mean and standard deviation over an overview's patches: [patches, dim] -> float32 [2 * dim].

    The mean says what the picture shows, the spread how much of it there is.
    """
    patches = patches.float()
    return torch.cat([patches.mean(dim=0), patches.std(dim=0, correction=0)])


def make_thumbnail(image: Image.Image | np.ndarray) -> Tensor:
    """The image squeezed into a square, uint8 [3, THUMBNAIL_PX, THUMBNAIL_PX]."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    small = as_rgb(image).resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()
