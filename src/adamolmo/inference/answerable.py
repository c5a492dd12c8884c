"""Which samples the model has room for: known from the sizes of question and image, before anything runs."""

from collections.abc import Sequence

from adamolmo.data.samples import Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import Failed
from adamolmo.inference.engine import Engine
from adamolmo.model.inputs import check_length
from adamolmo.model.preprocess import most_image_tokens


def answerable(engine: Engine, samples: Sequence[Sample], style: str | None) -> tuple[list[Sample], list[dict]]:
    """The samples whose prompt leaves room for an answer at every tier, and the others as {sample_id, reason}.

    One that fits at some tiers only is left out at all: every configuration is compared on the same samples. Images are
    looked at only where the largest one would be too much.
    """
    ranges, room = engine.tiers.values(), engine.model.config.most_prompt_tokens(engine.max_new_tokens)
    most = max(most_image_tokens(tier.min_crops, tier.max_crops, engine.preprocess_config) for tier in ranges)
    usable, failed = [], []
    for sample in samples:
        try:
            question_ids = engine.question_ids(sample.question, style)
            if 1 + most + len(question_ids) > room:
                size = engine.request_size(sample.open_image(), question_ids)
                check_length(max(size.input_tokens), room)
            usable.append(sample)
        except AdaMolmoError as error:
            reason = f"sample '{sample.sample_id}': {error}"
            failed.append(Failed(sample_id=sample.sample_id, reason=reason).model_dump())
    return usable, failed
