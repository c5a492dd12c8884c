"""Procedural data: reproducible, disjoint, answerable from the scene alone, inside the vocabulary."""

import io
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from adamolmo.config.data import DatasetSettings
from adamolmo.data.procedural import (
    CANVASES_PX,
    COLOURS,
    GENERATORS,
    RELATIONS,
    SHAPES,
    entity_questions,
    scene,
    scenes,
)
from adamolmo.data.sources import QUESTIONS_PER_IMAGE, SPLITS, draw_samples
from adamolmo.embedded.recipe import STYLES
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.errors import AdaMolmoError
from adamolmo.model.tokenizer import Tokenizer, format_prompt

PROCEDURAL = DatasetSettings(source="procedural", style=None, scorer="vqa")


@pytest.mark.parametrize("dataset", GENERATORS)
def test_scenes_are_a_function_of_their_name(dataset):
    first, again, other = scene(dataset, "a", 3), scene(dataset, "a", 3), scene(dataset, "b", 3)
    assert np.array_equal(first.image, again.image)
    assert first.questions == again.questions
    assert not np.array_equal(first.image, other.image)


def test_splits_share_no_image_and_seeds_differ():
    drawn = {split: draw_samples(PROCEDURAL, "okvqa", split, 30, seed=0) for split in SPLITS}
    images = {split: {s["image"] for s in samples} for split, samples in drawn.items()}
    assert not images["profile"] & images["evaluation"]
    assert not images["profile"] & images["importance"]
    other_seed = {s["image"] for s in draw_samples(PROCEDURAL, "okvqa", "profile", 30, seed=1)}
    assert not images["profile"] & other_seed


def test_samples_have_the_schema_of_the_real_datasets():
    samples = draw_samples(PROCEDURAL, "coco_2014_vqa", "profile", 12, seed=0)
    assert len({s["sample_id"] for s in samples}) == 12
    assert (
        max(sum(s["image_id"] == i for s in samples) for i in {s["image_id"] for s in samples}) <= QUESTIONS_PER_IMAGE
    )
    for sample in samples:
        assert Image.open(io.BytesIO(sample["image"])).size in CANVASES_PX
        assert len(sample["answers"]) == 10 and len(set(sample["answers"])) == 1


def test_unknown_names_are_refused():
    with pytest.raises(AdaMolmoError, match="no procedural dataset.*text_vqa"):
        draw_samples(PROCEDURAL, "textvqa", "profile", 1, seed=0)
    with pytest.raises(AdaMolmoError, match="split 'train' is unknown; expected importance"):
        draw_samples(PROCEDURAL, "okvqa", "train", 1, seed=0)


def test_counts_and_sums_agree_with_what_was_drawn():
    for drawn in islice(scenes("coco_2014_vqa", "check"), 40):
        for question in drawn.questions:
            words = question.text.split()
            if question.text.startswith("how many") and words[2] in SHAPES:
                assert question.answer == str(sum(part.label == words[2] for part in drawn.parts))
    for drawn in islice(scenes("text_vqa", "check"), 40):
        for question in drawn.questions:
            colour = question.text.split()[-3]
            digits = [int(p.label) for p in drawn.parts if p.colour == colour and p.label.isdigit()]
            if "sum" in question.text:
                assert question.answer == str(sum(digits))
            if "what number" in question.text:
                assert question.answer == "".join(map(str, digits))


def test_kinds_of_answers_are_mixed_as_in_vqa_v2():
    samples = draw_samples(PROCEDURAL, "coco_2014_vqa", "profile", 900, seed=0)
    answers = [sample["answers"][0] for sample in samples]
    shares = {
        "yes/no": np.mean([answer in ("yes", "no") for answer in answers]),
        "number": np.mean([answer.isdigit() for answer in answers]),
        "other": np.mean([answer in (*COLOURS, *SHAPES) for answer in answers]),
    }
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx({"yes/no": 0.38, "number": 0.12, "other": 0.5}, abs=0.06)


def test_every_entity_has_every_fact():
    asked = entity_questions(("star", "red"), "red star")
    assert len(asked) == len(RELATIONS) * 2
    assert all(q.answer in RELATIONS[q.text.split()[3]] for q in asked)


def test_the_vocabulary_covers_all_questions_and_answers(tmp_path):
    save_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    unknown = tokenizer.encode("zzz")
    for dataset in GENERATORS:
        for drawn in islice(scenes(dataset, "vocabulary"), 40):
            for question in drawn.questions:
                prompt = format_prompt(question.text, STYLES[dataset])
                assert tokenizer.decode(tokenizer.encode(prompt)) == prompt
                assert not set(unknown) & set(tokenizer.encode(f"{prompt} {question.answer}"))


def test_every_digit_has_image_tokens_of_its_own():
    """16 px are one token of the finest crops; digits that shared or straddled tokens could hardly be learned."""
    for index in range(60):
        digits = [part for part in scene("text_vqa", "training", index).parts if part.label.isdigit()]
        columns = [(part.box[0], part.box[2], part.box[1] // 16) for part in digits]
        assert all(left % 16 == 0 and right % 16 == 0 for left, right, _ in columns)
        assert len(set(columns)) == len(columns)
