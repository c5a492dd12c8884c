"""Prompts that leave the model no room for an answer: samples are left out and named, requests are refused."""

from dataclasses import replace

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.answerable import answerable
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.grid import prepare_group
from adamolmo.knobs import KnobConfig

LONG = " ".join(["red"] * 480)  # at 512 positions, of which an answer takes 4 and an image at least 30


def room(engine, sample, tier="high") -> int:
    """Words that a question about the sample's image may have."""
    question = engine.backend.read_question("", "tiny")
    return engine.room - engine.backend.prompt_size(sample.open_image(), question, tier)[1]


def test_a_question_of_480_words_is_named_and_the_others_stay(tiny_engine, tiny_samples):
    long = replace(tiny_samples[4], question=LONG)
    usable, failed = answerable(tiny_engine, [*tiny_samples[:4], long, *tiny_samples[5:]], "tiny")
    assert usable == [*tiny_samples[:4], *tiny_samples[5:]]
    assert [entry["sample_id"] for entry in failed] == ["s4"]
    assert "sample 's4': the prompt has " in failed[0]["reason"] and "room for 508" in failed[0]["reason"]


@pytest.mark.parametrize("surplus", [0, 1])
def test_the_last_word_that_fits_is_known_to_the_token(tiny_engine, tiny_samples, surplus):
    sample = tiny_samples[8]
    words = room(tiny_engine, sample) + surplus
    asked = replace(sample, question=" ".join(["red"] * words))
    usable, failed = answerable(tiny_engine, [asked], "tiny")
    assert (len(usable), len(failed)) == (1 - surplus, surplus)


def test_what_fits_at_the_lowest_tier_only_is_left_out_of_all(tiny_engine, tiny_samples):
    sample = tiny_samples[8]
    words = room(tiny_engine, sample, "low")
    assert words > room(tiny_engine, sample)
    asked = replace(sample, question=" ".join(["red"] * words))
    assert answerable(tiny_engine, [asked], "tiny")[0] == []


def test_requests_and_batches_refuse_what_is_too_long(tiny_engine, tiny_samples):
    sample = tiny_samples[0]
    fixed = FixedController(KnobConfig("high", 4, 7))
    with pytest.raises(AdaMolmoError, match="the prompt has .* beside an answer the model has room for 508"):
        tiny_engine.answer(sample.open_image(), LONG, "tiny", fixed, Limit(10.0))
    with pytest.raises(AdaMolmoError, match="the prompt has"):
        prepare_group(tiny_engine, [sample, replace(sample, question=LONG)], "tiny", "high")


def test_more_room_for_the_answer_is_less_for_the_question(tiny_engine, tiny_samples):
    sample = replace(tiny_samples[8], question=" ".join(["red"] * room(tiny_engine, tiny_samples[8])))
    assert answerable(tiny_engine, [sample], "tiny")[0] == [sample]
    tiny_engine.max_new_tokens += 1
    assert answerable(tiny_engine, [sample], "tiny")[0] == []
