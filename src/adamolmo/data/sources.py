"""Where samples come from: a seeded subset of a dataset's split, images included, so that later jobs need nothing else.

A sample is a dict with the columns of `files.samples`: sample_id, image_id, image (its file), question, answers.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from adamolmo.config.data import DatasetSettings
from adamolmo.data.division import explained, sharing_with
from adamolmo.data.images import MOST_PIXELS
from adamolmo.data.procedural import GENERATORS, scenes
from adamolmo.data.samples import Sample, samples_of
from adamolmo.data.tables import table_samples
from adamolmo.data.vetting import Vetting
from adamolmo.errors import AdaMolmoError
from adamolmo.progress import progress

SPLITS = ("importance", "profile", "evaluation")  # in the order in which they are drawn
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


def draw_samples(
    settings: DatasetSettings,
    dataset: str,
    split: str,
    count: int,
    seed: int,
    earlier: Mapping[str, Sequence[Sample]] | None = None,
    max_pixels: int = MOST_PIXELS,
) -> list[dict]:
    """The first `count` samples of a split.

    Args:
        earlier: by name the splits that were drawn before: none of their pictures is drawn again.
        max_pixels: pictures with more are not decoded.

    Raises AdaMolmoError: unknown split or dataset, a source that cannot be had or read, or with too few samples.
    """
    if split not in SPLITS:
        raise AdaMolmoError(f"split '{split}' is unknown; expected {', '.join(SPLITS)}.")
    if settings.source == "procedural":
        return _first(procedural_samples(dataset, split, seed), dataset, split, count)
    vetting = Vetting(f"datasets.{dataset}, split '{split}'", earlier or {}, max_pixels)
    samples = _first(vetting.vet(table_samples(settings, dataset, split, seed)), dataset, split, count)
    vetting.report()
    if len(samples) < count:
        left_out = f" ({vetting.left_out()})" if vetting.left_out() else ""
        raise AdaMolmoError(
            f"datasets.{dataset}: there are {len(samples)} samples for '{split}'{left_out}, expected samples.{split} = "
            f"{count}{explained(sharing_with(settings, split))}."
        )
    return samples


def draw_split(
    settings: DatasetSettings, dataset: str, counts: Mapping[str, int], seed: int, max_pixels: int = MOST_PIXELS
) -> list[dict]:
    """The samples of the last of the splits that `counts` names in the order in which they are drawn: the others are
    drawn again, because no job waits for another split's, and what they have is left out. Raises as `draw_samples`."""
    earlier: dict[str, Sequence[Sample]] = {}
    for split, count in counts.items():
        samples = draw_samples(settings, dataset, split, count, seed, earlier, max_pixels)
        earlier[split] = samples_of(samples)
    return samples


def _first(stream: Iterator[dict], dataset: str, split: str, count: int) -> list[dict]:
    return list(progress(islice(stream, count), f"Samples of {dataset} for {split}", count))
