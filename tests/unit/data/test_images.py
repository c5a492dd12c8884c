"""Pixels of image files: right ones for every kind, and one sentence for what cannot be read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from adamolmo.data.images import as_rgb, read_image, read_with_transparency, upright_size
from adamolmo.data.samples import Sample, split_readable
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.readings import make_thumbnail
from adamolmo.model.preprocess import PreprocessConfig, preprocess

RAMP = np.linspace(0, 1, 24).reshape(4, 6)
CLOSE = 1  # rounding


def saved(image: Image.Image | np.ndarray, file_format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format=file_format, **options)
    return file.getvalue()


def grey_of(file: bytes) -> np.ndarray:
    pixels = np.asarray(read_image(file)).astype(int)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_shades(file_format):
    assert np.abs(grey_of(saved((RAMP * 65535).astype(np.uint16), file_format)) - RAMP * 255).max() <= CLOSE


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats_keep_their_shades(white):
    assert np.abs(grey_of(saved((RAMP * white).astype(np.float32), "TIFF")) - RAMP * 255).max() <= CLOSE


@pytest.mark.parametrize("white", [255, 65535])
def test_32_bit_numbers_keep_their_shades(white):
    assert np.abs(grey_of(saved((RAMP * white).astype(np.int32), "TIFF")) - RAMP * 255).max() <= CLOSE


def test_16_bit_grey_where_white_is_zero():
    options = {"tiffinfo": {262: 0}}
    assert np.abs(grey_of(saved((RAMP * 65535).astype(np.uint16), "TIFF", **options)) - (1 - RAMP) * 255).max() <= CLOSE


@pytest.mark.parametrize("pixels", [RAMP - 0.5, RAMP * 1e6, RAMP * np.nan, RAMP + np.inf])
def test_floats_of_no_known_range_are_refused(pixels):
    with pytest.raises(AdaMolmoError, match=r"pixels from .* to .*; expected them within 0 to 65535"):
        read_image(saved(pixels.astype(np.float32), "TIFF"))


def test_transparency_is_dropped_as_by_the_official_preprocessing():
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[:, :, 3] = 128
    assert np.asarray(read_image(saved(clear))).max() == 0
    assert (
        read_with_transparency(saved(clear))[1]
        and read_with_transparency(saved(Image.fromarray(clear).convert("LA")))[1]
    )
    clear[:, :, 3] = 255
    assert not read_with_transparency(saved(clear))[1] and not read_with_transparency(saved(clear[:, :, :3]))[1]
    palette = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).convert("P")
    assert read_with_transparency(saved(palette, transparency=3))[1] and not read_with_transparency(saved(palette))[1]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_are_converted(mode):
    file = saved(Image.fromarray((RAMP * 255).astype(np.uint8)).convert(mode), "JPEG" if mode == "YCbCr" else "TIFF")
    assert read_image(file).mode == "RGB"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_pictures_are_turned_once(file_format):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = saved(Image.new("RGB", (6, 4)), file_format, exif=exif)
    picture = read_image(file)
    assert picture.size == (4, 6) and as_rgb(picture) is picture and upright_size(picture) == (6, 4)
    assert upright_size(Image.open(io.BytesIO(file))) == (6, 4)


def damaged_exif() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole, picture = exif.tobytes(), Image.new("RGB", (6, 4))
    return {
        "no TIFF header": saved(picture, "PNG", exif=b"Exif\x00\x00" + b"XX" + whole[8:]),
        "cut in its header": saved(picture, "PNG", exif=whole[:10]),
        "of a WebP": saved(picture, "WEBP", exif=b"Exif\x00\x00MMMM"),
    }


@pytest.mark.parametrize("name", damaged_exif())
def test_damaged_metadata_fails_the_sample_alone(name):
    good = Sample("good", "good", saved(Image.new("RGB", (6, 4))), "why ?", ("red",))
    bad = Sample("bad", "bad", damaged_exif()[name], "why ?", ("red",))
    usable, failed = split_readable([good, bad])
    assert usable == [good] and failed[0]["reason"].startswith("sample 'bad': its image cannot be read (")


def test_every_reader_guards_damaged_metadata():
    config = PreprocessConfig((24, 24), 4, (2, 2), (2, 2))
    for read in (as_rgb, upright_size, make_thumbnail, lambda image: preprocess(image, 1, 1, config)):
        with pytest.raises(AdaMolmoError, match="the image cannot be read"):
            read(Image.open(io.BytesIO(damaged_exif()["no TIFF header"])))


def huge_png(width: int, height: int) -> bytes:
    """A small file of many pixels: all black, which compresses well."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    row = zlib.compressobj()
    rows = b"".join(row.compress(bytes(1 + 3 * width)) for _ in range(min(height, 8))) + row.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "limit", "sentence"),
    [
        ((10_001, 5_000), 50_000_000, "10001 x 5000 px; expected at most 50 megapixels, samples.max_megapixels"),
        ((40, 26), 1_000, "40 x 26 px"),
        ((60_000, 60_000), 178_000_000, "DecompressionBombError"),
    ],
)
def test_more_pixels_than_allowed_are_refused_before_decoding(size, limit, sentence, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(AdaMolmoError, match=sentence):
        read_image(huge_png(*size), max_pixels=limit)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "the file is empty"),
        (b"%PDF-1.4", "no file of the formats PNG, JPEG, WEBP, GIF, BMP, TIFF, or a damaged one"),
        (b"P5 2 2 255 aaaa", "no file of the formats"),
        (b"<svg></svg>", "no file of the formats"),
        (saved(Image.new("RGB", (40, 40)))[:60], "OSError|SyntaxError"),
    ],
)
def test_other_files_are_one_sentence_without_addresses(file, reason):
    with pytest.raises(AdaMolmoError, match=reason) as error:
        read_image(file)
    assert "0x" not in str(error.value)


def test_a_file_cut_short_is_damaged_whatever_other_libraries_set(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(AdaMolmoError):
        read_image(saved(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))[:2000])
    assert ImageFile.LOAD_TRUNCATED_IMAGES
