"""Scenes of several sizes: each as often, right on each, and on the grid of the model's image tokens."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from adamolmo.config import StudyConfig
from adamolmo.data.procedural import (
    CANVASES_PX,
    COLOURS,
    DIGIT_HEIGHTS_PX,
    GENERATORS,
    OBJECT_SIZES_PX,
    SHAPES,
    Scene,
    entity_questions,
    scene,
    scenes,
)
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import procedural_samples
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.preprocess import PreprocessConfig, select_tiling

REPOSITORY = Path(__file__).parents[3]
NUM_CHECKED = 60


@pytest.fixture(scope="module")
def geometry() -> PreprocessConfig:
    return PreprocessConfig.of_model(MolmoEConfig.load(REPOSITORY / "resources/embedded/config.json"))


def drawn_on(dataset: str, canvas) -> list[Scene]:
    return [scene(dataset, "check", index, canvas) for index in range(NUM_CHECKED)]


def inside(part, canvas) -> bool:
    left, top, right, bottom = part.box
    return left >= 0 and top >= 0 and right <= canvas[0] and bottom <= canvas[1]


@pytest.mark.parametrize("dataset", GENERATORS)
def test_every_size_is_equally_frequent_from_the_first_scenes_on_and_its_order_is_not_the_same_everywhere(dataset):
    sizes = [drawn.image.size for drawn in islice(scenes(dataset, "profile-0"), 40)]
    for number in (4, 20, 40):
        assert Counter(sizes[:number]) == dict.fromkeys(CANVASES_PX, number // 4)
    assert len({tuple(sizes[start : start + 4]) for start in range(0, 40, 4)}) > 3
    assert sizes != [drawn.image.size for drawn in islice(scenes(dataset, "evaluation-0"), 40)]


@pytest.mark.parametrize("dataset", GENERATORS)
def test_the_same_seed_gives_the_same_bytes_and_the_questions_on_an_image_share_it(dataset):
    samples, again = (samples_of(islice(procedural_samples(dataset, "profile", 0), 30)) for _ in range(2))
    assert samples == again
    images = {sample.image_id: sample.image for sample in samples}
    assert all(sample.image == images[sample.image_id] for sample in samples)
    assert len({samples[i].open_image().size for i in range(30)}) == len(CANVASES_PX)


def test_a_scene_asked_for_by_number_is_of_the_size_that_the_model_was_trained_on():
    assert all(
        scene(dataset, "training", index).image.size == (192, 192) for dataset in GENERATORS for index in range(6)
    )


@pytest.mark.parametrize("canvas", CANVASES_PX)
@pytest.mark.parametrize("dataset", GENERATORS)
def test_digits_and_objects_stay_on_the_canvas_and_apart(dataset, canvas):
    for drawn in drawn_on(dataset, canvas):
        assert drawn.image.size == canvas
        things = [part for part in drawn.parts if part.label != "sign"]
        assert things
        for thing in things:
            assert inside(thing, canvas)
            left, top, right, bottom = map(int, thing.box)
            ink = (15, 15, 15) if thing.label.isdigit() else COLOURS[thing.colour]
            pixels = np.asarray(drawn.image, dtype=int)[top:bottom, left:right]
            assert (abs(pixels - ink).max(axis=-1) < 40).mean() > 0.05
        for a, b in ((a, b) for i, a in enumerate(things) for b in things[:i]):
            apart = a.box[0] >= b.box[2] or b.box[0] >= a.box[2] or a.box[1] >= b.box[3] or b.box[1] >= a.box[3]
            assert apart, (a, b)


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_crops_per_tier_are_those_of_the_size(canvas, geometry):
    width, height = canvas
    tiers = StudyConfig.load(REPOSITORY / "config.yaml").knobs.tier_arguments
    crops = {name: 1 + np.prod(select_tiling(height, width, **tier, config=geometry)) for name, tier in tiers.items()}
    expected = {(192, 192): (2, 5, 17), (192, 96): (2, 3, 9), (96, 192): (2, 3, 9), (96, 96): (2, 5, 5)}
    assert (crops["low"], crops["medium"], crops["high"]) == expected[canvas]


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_every_digit_that_the_overview_shows_fills_one_of_its_tokens(canvas, geometry):
    """Off the overview's grid the embedded model misread them, even where it saw finer crops of them."""
    scale = geometry.crop_size[0] / max(canvas)
    token_px = geometry.crop_size[0] // geometry.crop_tokens[0]
    padding = np.array([max(canvas) - side for side in canvas]) / 2
    coarse = fine = 0
    for drawn in drawn_on("text_vqa", canvas):
        for left, top, right, bottom in (part.box for part in drawn.parts if part.label.isdigit()):
            pitch = right - left
            corner = np.array([left, (top + bottom - pitch) / 2])
            if (bottom - top) * scale >= geometry.patch_size:
                assert pitch * scale == token_px
                assert not ((corner + padding) * scale % token_px).any()
                coarse += 1
            else:
                assert pitch % token_px == 0
                assert not (corner % pitch).any()
                fine += 1
    assert min(coarse, fine) > NUM_CHECKED / 4


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_things_of_every_size_occur_up_to_a_quarter_of_the_canvas(canvas):
    for dataset, sizes in (("text_vqa", DIGIT_HEIGHTS_PX), ("okvqa", OBJECT_SIZES_PX)):
        parts = [part for drawn in drawn_on(dataset, canvas) for part in drawn.parts if part.label != "sign"]
        assert {part.box[3] - part.box[1] for part in parts} == {size for size in sizes if size <= max(canvas) / 4}


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_answers_about_signs_are_what_was_drawn(canvas):
    asked = 0
    for drawn in drawn_on("text_vqa", canvas):
        assert drawn.questions
        for question in drawn.questions:
            colour = question.text.split()[-3]
            digits = [part.label for part in drawn.parts if part.colour == colour and part.label.isdigit()]
            expected = {
                "what number is": "".join(digits),
                "what is the first": digits[0],
                "what is the last": digits[-1],
                "what is the sum": str(sum(map(int, digits))),
            }
            assert question.answer == next(a for start, a in expected.items() if question.text.startswith(start))
            asked += 1
    assert asked > NUM_CHECKED


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_answers_about_objects_are_what_was_drawn(canvas):
    kinds = Counter()
    for drawn in drawn_on("coco_2014_vqa", canvas):
        shown = [(part.colour, part.label) for part in drawn.parts]
        for question in drawn.questions:
            words = question.text.split()
            if words[0] == "is":
                assert question.answer == ("yes" if (words[3], words[4]) in shown else "no")
            elif words[:2] == ["how", "many"]:
                counted = [pair for pair in shown if words[2] in (*pair, "objects")]
                assert question.answer == str(len(counted))
            elif words[1] == "color":
                assert [question.answer] == [colour for colour, shape in shown if shape == words[-2]]
            else:
                assert question.answer == nearest(drawn, words[-2])
            kinds[words[1]] += 1
    assert set(kinds) == {"there", "many", "color", "is"}


def nearest(drawn: Scene, shape: str) -> str:
    """The shape of the object whose middle is nearest to that of the only object of this shape."""
    middles = np.array([(part.box[0] + part.box[2], part.box[1] + part.box[3]) for part in drawn.parts]) / 2
    labels = [part.label for part in drawn.parts]
    distances = np.linalg.norm(middles - middles[labels.index(shape)], axis=1)
    distances[labels.index(shape)] = np.inf
    return labels[int(distances.argmin())]


@pytest.mark.parametrize("canvas", CANVASES_PX)
def test_answers_about_facts_are_those_of_the_objects_that_were_drawn(canvas):
    for drawn in drawn_on("okvqa", canvas):
        assert 1 <= len(drawn.parts) <= 3
        facts = {q for part in drawn.parts for q in entity_questions((part.label, part.colour), part.label)}
        assert facts.issuperset(drawn.questions)
        assert all(part.label in SHAPES and part.colour in COLOURS for part in drawn.parts)
