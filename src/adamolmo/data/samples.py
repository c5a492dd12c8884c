"""Samples as the study's passes read them: an image, a question, the answers that count as right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adamolmo.data.images import MOST_PIXELS, read_image
from adamolmo.data.scoring import Scorer
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import Failed
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table


@dataclass(frozen=True)
class Sample:
    """One question about one image.

    Attributes:
        image_id: samples with the same image are not independent of each other.
        image: the encoded file.
        answers: the reference answers.
    """

    sample_id: str
    image_id: str
    image: bytes
    question: str
    answers: tuple[str, ...]

    def open_image(self, max_pixels: int = MOST_PIXELS) -> Image.Image:
        """The picture, upright RGB. Raises AdaMolmoError when the bytes are not a readable image, or it is larger."""
        return read_image(self.image, f"sample '{self.sample_id}': its image cannot be read", max_pixels)


@dataclass(frozen=True)
class Questions:
    """What a pass over a dataset asks.

    Attributes:
        style: of the prompts, for example "text_vqa"; None for none.
        scorer: how right an answer is, from 0 to 1.
    """

    samples: Sequence[Sample]
    style: str | None
    scorer: Scorer


def samples_of(rows: Iterable[Mapping]) -> list[Sample]:
    """One sample per row with the columns of `files.samples`."""
    return [Sample(**{**row, "answers": tuple(row["answers"])}) for row in rows]


def read_samples(path: str | Path) -> list[Sample]:
    """The samples of a prepared split, sorted by id. Raises AdaMolmoError as `read_table`."""
    return samples_of(read_table(path, SAMPLES)[0].to_dict("records"))


def readable(
    samples: Sequence[Sample], max_failed_fraction: float, max_pixels: int = MOST_PIXELS
) -> tuple[list[Sample], list[dict]]:
    """`split_readable`. Raises AdaMolmoError when more than `max_failed_fraction` failed, or there is none at all."""
    usable, failed = split_readable(samples, max_pixels)
    check_failures(failed, len(samples), max_failed_fraction)
    return usable, failed


def split_readable(samples: Sequence[Sample], max_pixels: int = MOST_PIXELS) -> tuple[list[Sample], list[dict]]:
    """The samples whose image can be read and has up to `max_pixels`, and the others as {sample_id, reason}."""
    usable, failed = [], []
    for sample in samples:
        try:
            sample.open_image(max_pixels)
            usable.append(sample)
        except AdaMolmoError as error:
            failed.append(Failed(sample_id=sample.sample_id, reason=str(error)).model_dump())
    return usable, failed


def check_failures(failed: Sequence[dict], num_samples: int, max_failed_fraction: float) -> None:
    """Raises AdaMolmoError when more than `max_failed_fraction` of `num_samples` failed, or none is left."""
    if len(failed) == num_samples or len(failed) > max_failed_fraction * num_samples:
        example = f", for example {failed[0]['reason']}" if failed else "."
        raise AdaMolmoError(
            f"{len(failed)} of {num_samples} samples are unreadable, expected at most "
            f"{100 * max_failed_fraction:g} %{example}"
        )
