"""Where samples come from: a seeded subset of a dataset's split, images included, so that later jobs need nothing else.

A sample is a dict with the columns of `schema.SAMPLES`: sample_id, image_id, image (a PNG file), question, answers.
"""

import io
from collections.abc import Callable, Iterator
from itertools import islice

from adamolmo.data.procedural import GENERATORS, scenes
from adamolmo.errors import AdaMolmoError

SPLITS = ("importance", "profile", "evaluation")
QUESTIONS_PER_IMAGE = 3
# text_vqa, okvqa and VQA v2 give ten answers per question; the procedural questions have one true answer.
_NUM_ANSWERS = 10


def procedural_samples(dataset: str, split: str, seed: int) -> Iterator[dict]:
    """An endless stream of samples, `QUESTIONS_PER_IMAGE` per image; other splits and seeds draw other images."""
    if dataset not in GENERATORS:
        raise AdaMolmoError(
            f"datasets.{dataset}: no procedural dataset has that name; expected {', '.join(GENERATORS)}."
        )
    for index, scene in enumerate(scenes(dataset, f"{split}-{seed}")):
        buffer = io.BytesIO()
        scene.image.save(buffer, format="PNG")
        asked = {question.text: question for question in scene.questions}
        for number, question in enumerate(islice(asked.values(), QUESTIONS_PER_IMAGE)):
            yield {
                "sample_id": f"{index:06d}-{number}",
                "image_id": f"{index:06d}",
                "image": buffer.getvalue(),
                "question": question.text,
                "answers": [question.answer] * _NUM_ANSWERS,
            }


SOURCES: dict[str, Callable[[str, str, int], Iterator[dict]]] = {"procedural": procedural_samples}


def draw_samples(source: str, dataset: str, split: str, count: int, seed: int) -> list[dict]:
    """The first `count` samples of a split.

    Raises AdaMolmoError: unknown split or dataset, or a source with too few samples.
    """
    if split not in SPLITS:
        raise AdaMolmoError(f"split '{split}' is unknown; expected {', '.join(SPLITS)}.")
    samples = list(islice(SOURCES[source](dataset, split, seed), count))
    if len(samples) < count:
        raise AdaMolmoError(f"datasets.{dataset}: split '{split}' has {len(samples)} samples; expected {count}.")
    return samples
