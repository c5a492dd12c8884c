"""Image files with damaged bytes, cut short, with damaged metadata: an RGB picture, or one sentence."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged
from PIL import Image, PngImagePlugin

from adamolmo.data.images import as_rgb, read_image, read_with_transparency, upright_size
from adamolmo.errors import AdaMolmoError

MOST_PIXELS = 100_000


def pixels(*shape: int, dtype=np.uint8) -> np.ndarray:
    limit = 2 if dtype == np.float32 else 256
    return (np.random.default_rng(0).random(shape) * limit).astype(dtype)


COLOUR = Image.fromarray(pixels(12, 16, 3))
CLEAR = Image.fromarray(pixels(12, 16, 4))
GREY = Image.fromarray(pixels(12, 16))


def exif() -> Image.Exif:
    entries = Image.Exif()
    entries[0x0112] = 6
    entries[0x010E] = "a description"
    return entries


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def with_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("title", "a picture", zip=True)
    return info


FILES = {
    "PNG": [
        saved(COLOUR, "PNG", exif=exif(), pnginfo=with_text()),
        saved(CLEAR, "PNG"),
        saved(GREY.convert("P"), "PNG", transparency=3),
        saved(Image.fromarray(pixels(12, 16, dtype=np.uint16)), "PNG"),
    ],
    "JPEG": [
        saved(COLOUR, "JPEG", exif=exif(), quality=50),
        saved(GREY, "JPEG", progressive=True, quality=50),
        saved(COLOUR.convert("CMYK"), "JPEG", quality=50),
    ],
    "GIF": [saved(GREY, "GIF"), saved(GREY, "GIF", save_all=True, append_images=[COLOUR, GREY], transparency=0)],
    "WEBP": [
        saved(COLOUR, "WEBP", exif=exif()),
        saved(CLEAR, "WEBP", lossless=True),
        saved(COLOUR, "WEBP", save_all=True, append_images=[CLEAR]),
    ],
    "TIFF": [
        saved(COLOUR, "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(pixels(12, 16, dtype=np.uint16)), "TIFF"),
        saved(Image.fromarray(pixels(12, 16, dtype=np.float32)), "TIFF"),
        saved(GREY.convert("1"), "TIFF", compression="group4"),
    ],
    "BMP": [saved(COLOUR, "BMP"), saved(GREY, "BMP")],
}


def check(file: bytes) -> None:
    """A picture that is the same each time, or one sentence."""
    try:
        picture = read_image(file, max_pixels=MOST_PIXELS)
    except AdaMolmoError as error:
        sentence = str(error)
        assert sentence.startswith("the image cannot be read (") and sentence.endswith(").")
        assert sentence.isprintable() and len(sentence) < 250 and " at 0x" not in sentence
        return
    assert (type(picture), picture.mode, picture.info) == (Image.Image, "RGB", {})
    assert 0 < picture.width * picture.height <= MOST_PIXELS
    assert as_rgb(picture) is picture and upright_size(picture) == (picture.height, picture.width)
    assert read_image(file).tobytes() == picture.tobytes()
    again, transparent = read_with_transparency(file)
    assert again.tobytes() == picture.tobytes() and transparent in (True, False)


@pytest.mark.parametrize("file_format", FILES)
def test_damaged_files(file_format):
    @given(st.sampled_from(FILES[file_format]).flatmap(damaged))
    def attempt(file):
        check(file)

    attempt()


@given(damaged(exif().tobytes()), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_damaged_metadata(metadata, file_format):
    check(saved(COLOUR, file_format, exif=metadata[:60_000]))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_sizes_that_are_not_true(width, height):
    """The header says so; the data are of another size."""
    import zlib

    file = bytearray(FILES["PNG"][0])
    file[16:24] = struct.pack(">II", width, height)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    check(bytes(file))


@pytest.mark.parametrize("file_format", FILES)
def test_undamaged_files_are_read(file_format):
    for file in FILES[file_format]:
        check(file)
        assert sorted(read_image(file).size) == [12, 16]
