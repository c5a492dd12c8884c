"""What people may pass to the library, each fault in one sentence."""

import os
from pathlib import Path
from typing import Any

from PIL import Image

from adamolmo.data.images import as_rgb, read_image
from adamolmo.errors import AdaMolmoError, printable

PATH = (str, os.PathLike)


def expect(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raises AdaMolmoError when the argument of this name is of another type than `kinds`."""
    if not isinstance(value, kinds):
        raise AdaMolmoError(f"{name} is {_shown(value)}; expected {expected}.")


def expect_text(name: str, value: Any) -> None:
    """Raises AdaMolmoError when it is no text that can be read, or says nothing."""
    expect(name, value, str, "a text")
    if not value.strip():
        raise AdaMolmoError(f"{name} is empty; expected a text.")
    if value != printable(value):
        raise AdaMolmoError(f"{name} is '{value}'; expected text in UTF-8, without control characters.")


def open_picture(image: Any, max_pixels: int) -> Image.Image:
    """The picture. Raises AdaMolmoError when it is nothing that can be read as one, or a file of more pixels."""
    expect("image", image, (*PATH, bytes, Image.Image), "a PIL image, the path of an image file, or its bytes")
    if isinstance(image, Image.Image):
        return as_rgb(image, "image: cannot be used")
    if isinstance(image, bytes):
        return read_image(image, f"image of {len(image)} bytes: cannot be read as an image", max_pixels)
    try:
        file = Path(image).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise AdaMolmoError(f"{image}: cannot be read as an image ({error}).") from error
    return read_image(file, f"{image}: cannot be read as an image", max_pixels)


def _shown(value: Any) -> str:
    text, kind = repr(value), f"of type {type(value).__name__}"
    return kind if len(text) > 40 or "\n" in text else f"{text}, {kind}"
