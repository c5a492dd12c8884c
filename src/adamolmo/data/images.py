"""The one place that makes pixels out of an image file: every reader gets an upright 8-bit RGB picture from here.

Whatever the library for it raises about a file is one AdaMolmoError, by which a sample counts as failed.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from adamolmo.config.data import MOST_MEGAPIXELS
from adamolmo.errors import AdaMolmoError, stable

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = MOST_MEGAPIXELS * 10**6
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF


def read_image(file: bytes, fault: str = "the image cannot be read", max_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture in an image file, of several frames the first.

    Args:
        fault: how the sentence of an error begins.
        max_pixels: a file that says it has more is refused before it is decoded.

    Raises AdaMolmoError: the file is in no format of `FORMATS`, damaged or too large.
    """
    with _one_sentence(fault):
        return _as_rgb(_open(file, max_pixels))


def read_with_transparency(file: bytes, max_pixels: int = MOST_PIXELS) -> tuple[Image.Image, bool]:
    """As `read_image`, and whether some pixel is not opaque in the file. Raises AdaMolmoError."""
    with _one_sentence("the image cannot be read"):
        image = _open(file, max_pixels)
        picture = _as_rgb(image)
        transparent = image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255
        return picture, transparent


def as_rgb(image: Image.Image, fault: str = "the image cannot be read") -> Image.Image:
    """Upright and 8-bit RGB, without transparency; the image itself where it is that already.

    Transparency is dropped as in the preprocessing that Molmo was released with: what it hid can be seen, and dark text
    on it may vanish. 16-bit grey goes to 8 bits by its range; so do floats, by the least of the ranges 0..1, 0..255 and
    0..65535 that has them all. Raises AdaMolmoError for anything else.
    """
    with _one_sentence(fault):
        return _as_rgb(image)


def upright_size(image: Image.Image | np.ndarray) -> tuple[int, int]:
    """Height and width in px of `as_rgb`, or of an array [height, width, 3]. Raises AdaMolmoError."""
    if isinstance(image, np.ndarray):
        return image.shape[:2]
    with _one_sentence("the image cannot be read"):
        image.load()  # TIFF is turned by that
        lies_on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if lies_on_its_side else (image.height, image.width)


def _open(file: bytes, max_pixels: int) -> Image.Image:
    """The image, not decoded yet."""
    if not file:
        raise AdaMolmoError("the file is empty")
    image = Image.open(io.BytesIO(file), formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise AdaMolmoError(
            f"{image.width} x {image.height} px; expected at most {max_pixels / 1e6:g} megapixels, "
            "samples.max_megapixels"
        )
    return image


def _as_rgb(image: Image.Image) -> Image.Image:
    if type(image) is Image.Image and image.mode == "RGB" and not image.getexif():
        return image
    return Image.fromarray(_rgb_values(ImageOps.exif_transpose(image), _white(image)))  # without metadata


def _rgb_values(image: Image.Image, white: int) -> np.ndarray:
    """uint8 [height, width, 3]."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64) / abs(white)
        return _grey(1 - grey if white < 0 else grey)
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        ranges = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        return _grey(values / _range_of(values, ranges))
    return np.asarray(image.convert("RGB"))


def _grey(shares: np.ndarray) -> np.ndarray:
    """Of shares of white [height, width]."""
    return np.repeat(np.rint(shares * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _range_of(values: np.ndarray, ranges: tuple[int, ...]) -> int:
    low, high = values.min(), values.max()
    for white in ranges:
        if low >= 0 and high <= white:
            return white
    raise AdaMolmoError(f"pixels from {low:g} to {high:g}; expected them within 0 to {ranges[-1]}")


def _white(image: Image.Image) -> int:
    """What white is in 16-bit grey; negative where that means black. TIFF may say so."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    return (2**bits - 1) * (-1 if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else 1)


@contextmanager
def _one_sentence(fault: str) -> Iterator[None]:
    """Whatever is raised inside, as one AdaMolmoError, without addresses of this process; warnings are no news."""
    try:
        with warnings.catch_warnings(), _nothing_missing():
            warnings.simplefilter("ignore")
            yield
    except AdaMolmoError as error:
        reason, cause = str(error), None
    except UnidentifiedImageError as error:
        reason, cause = f"no file of the formats {', '.join(FORMATS)}, or a damaged one", error
    except Exception as error:  # decoders raise anything, from SyntaxError to struct.error
        found = stable(str(error)).rstrip(" .")
        reason, cause = f"{type(error).__name__}: {found}" if found else type(error).__name__, error
    else:
        return
    raise AdaMolmoError(f"{fault} ({reason}).") from cause


@contextmanager
def _nothing_missing() -> Iterator[None]:
    """A file cut short is damaged, also beside libraries that have the rest drawn grey for the whole process."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
