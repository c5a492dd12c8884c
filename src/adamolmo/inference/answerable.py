"""Which samples the model has room for: known from the sizes of question and image, before anything runs."""

from collections.abc import Sequence

from adamolmo.backend.prompts import check_length
from adamolmo.data.samples import Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import Failed
from adamolmo.inference.engine import Engine


def answerable(engine: Engine, samples: Sequence[Sample], style: str | None) -> tuple[list[Sample], list[dict]]:
    """The samples whose prompt leaves room for an answer at every tier, and the others as {sample_id, reason}.

    One that fits at some tiers only is left out at all: every configuration is compared on the same samples. Images are
    looked at only where the largest one would be too much.
    """
    backend, room = engine.backend, engine.room
    usable, failed = [], []
    for sample in samples:
        try:
            question = backend.read_question(sample.question, style)
            if backend.largest_prompt(question)[1] > room:
                check_length(max(engine.request_size(sample.open_image(), question).input_tokens), room)
            usable.append(sample)
        except AdaMolmoError as error:
            reason = f"sample '{sample.sample_id}': {error}"
            failed.append(Failed(sample_id=sample.sample_id, reason=reason).model_dump())
    return usable, failed
