from dataclasses import replace

import pytest
from plain_answers import exact, plain_answers

from adamolmo.data.samples import Questions


@pytest.fixture
def answerable(tiny_engine, tiny_samples) -> Questions:
    """Questions whose reference is what the full model says, save for two."""
    full = tiny_engine.backend.model.full_knobs
    answers = [plain_answers(tiny_engine, s, "high", full) for s in tiny_samples]
    samples = [
        replace(s, answers=(a if i > 1 else "never",))
        for i, (s, a) in enumerate(zip(tiny_samples, answers, strict=True))
    ]
    return Questions(samples, "tiny", exact)
