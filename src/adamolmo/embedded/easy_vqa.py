"""The pictures and questions of easy-VQA (https://github.com/vzhou842/easy-VQA) as scenes to learn from."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from adamolmo.config.data import DatasetSettings
from adamolmo.data.listing import place
from adamolmo.data.procedural import Placed, Question, Scene
from adamolmo.data.samples import Sample, samples_of
from adamolmo.data.tables import table_samples
from adamolmo.embedded.labels import COLOUR_LABELS, PART_LABELS

SIZE = (64, 64)  # of every picture
_SETTINGS = {
    "source": "json",
    "package": "easy_vqa",
    "path": "data",
    "splits": dict.fromkeys(("importance", "profile", "evaluation"), "train"),
    "columns": {"question": "0", "answers": "1", "image": "images/{2}.png"},
    "style": "vqa2",
    "scorer": "vqa",
}
_BACKGROUND_SPREAD = 12  # of a channel's values between the picture's corner and other places of its background


def installed() -> Path:
    """The folder `data` of the package. Raises AdaMolmoError when it is not installed."""
    return place(DatasetSettings.model_validate(_SETTINGS))


class EasyVqa:
    """The training split of a folder laid out as the package's, read as a user's data are."""

    def __init__(self, path: Path):
        settings = DatasetSettings.model_validate({**_SETTINGS, "package": None, "path": str(path)})
        self._questions: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples_of(table_samples(settings, "easy_vqa", "profile", seed=0)):
            self._questions[sample.image_id].append(sample)
        self._images = sorted(self._questions)
        self._named = [image for image in self._images if _label_and_colour(self._questions[image])]

    def scene(self, rng: np.random.Generator) -> Scene:
        """One of the pictures, with its questions in random order."""
        samples = self._questions[self._images[rng.integers(len(self._images))]]
        questions = [Question(sample.question, sample.answers[0]) for sample in samples]
        rng.shuffle(questions)
        return Scene(samples[0].open_image(), questions)

    def labelled_scene(self, rng: np.random.Generator) -> Scene:
        """One of the pictures, with its part, of those whose questions tell what it is."""
        samples = self._questions[self._named[rng.integers(len(self._named))]]
        image = samples[0].open_image()
        return Scene(image, parts=[Placed(_box_of_shape(image), *_label_and_colour(samples))])


def _label_and_colour(samples: list[Sample]) -> tuple[str, str] | None:
    answers = {sample.answers[0] for sample in samples}
    label, colour = answers.intersection(PART_LABELS), answers.intersection(COLOUR_LABELS)
    return (*label, *colour) if len(label) == len(colour) == 1 else None


def _box_of_shape(image: Image.Image) -> tuple[float, float, float, float]:
    """Around the pixels that differ from the background, which is of one colour."""
    pixels = np.asarray(image, dtype=int)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    different = abs(pixels - np.median(border, axis=0)).max(axis=-1) > _BACKGROUND_SPREAD
    rows, columns = different.any(axis=1).nonzero()[0], different.any(axis=0).nonzero()[0]
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
