"""A few pictures and questions as easy-VQA has them."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw


@pytest.fixture(scope="session")
def easy_vqa(tmp_path_factory) -> Path:
    """The folder `data` of the package in miniature: picture n has a shape at (8 + n, 10, 28 + n, 40)."""
    folder = tmp_path_factory.mktemp("easy_vqa") / "data"
    (folder / "train/images").mkdir(parents=True)
    questions = []
    for number, (shape, colour) in enumerate((("rectangle", "teal"), ("circle", "red"), ("rectangle", "black"))):
        image = Image.new("RGB", (64, 64), (244, 238, 240))
        draw = ImageDraw.Draw(image)
        drawer = draw.rectangle if shape == "rectangle" else draw.ellipse
        drawer((8 + number, 10, 27 + number, 39), fill=colour)
        image.save(folder / f"train/images/{number}.png")
        questions += [
            [f"what color is the {shape}?", colour, number],
            [f"what is the {colour} shape?", shape, number],
            ["is there not a blue shape in the image?", "yes", number],
            ["does the image contain a triangle?", "no", number],
        ]
    (folder / "train/questions.json").write_text(json.dumps(questions))
    return folder
