"""What the training shows: pictures of several sizes, and what each image token of them is said to show."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from adamolmo.data.procedural import CANVASES_PX, COLOURS, Placed, Question, Scene, scene
from adamolmo.embedded.easy_vqa import SIZE, EasyVqa, installed
from adamolmo.embedded.labels import (
    COLOUR_LABELS,
    EMPTY,
    IGNORED,
    PART_LABELS,
    answerable,
    legible_px,
    token_boxes,
    token_labels,
)
from adamolmo.embedded.lessons import View, image_batch, labelled_crops
from adamolmo.embedded.losses import cell_loss
from adamolmo.embedded.recipe import ARCHITECTURE, TIERS_MAX_CROPS, Recipe, Stage
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.preprocess import CLIP_MEAN, CLIP_STD, PreprocessConfig, preprocess, select_tiling
from adamolmo.model.tokenizer import Tokenizer

DRAWN = Stage(1, {"high": 1.0}, easy_vqa=0.0, scenes={"coco_2014_vqa": 1.0})


@pytest.fixture(scope="module")
def geometry() -> PreprocessConfig:
    return PreprocessConfig.of_model(MolmoEConfig.from_dict(ARCHITECTURE, "the embedded model's architecture"))


def labels_of(parts: list[Placed], size, tiling, config) -> tuple[np.ndarray, np.ndarray]:
    boxes = token_boxes(size, tiling, config)
    return token_labels(parts, boxes), boxes


@pytest.mark.parametrize("size", CANVASES_PX)
@pytest.mark.parametrize("max_crops", TIERS_MAX_CROPS.values())
def test_a_labelled_token_shows_the_colour_that_its_label_says(size, max_crops, geometry):
    shows = []
    for index in range(4):
        drawn = scene("okvqa", "check", index, size)
        crops = preprocess(drawn.image, 1, max_crops, geometry)
        labels, _ = labels_of(drawn.parts, size, crops.tiling, geometry)
        rgb = crops.pixels.unflatten(-1, (-1, 3)) * torch.tensor(CLIP_STD) + torch.tensor(CLIP_MEAN)
        rows, columns = geometry.crop_tokens
        tokens = rgb.view(len(rgb), rows, 2, columns, 2, -1, 3).transpose(2, 3).reshape(len(rgb), rows * columns, -1, 3)
        for crop, token in np.argwhere(labels[..., 0] >= 0):
            part, colour = labels[crop, token]
            if part != EMPTY:
                wanted = torch.tensor(COLOURS[COLOUR_LABELS[colour]]) / 255
                shows.append(((tokens[crop, token] - wanted).abs().amax(dim=-1) < 0.2).any())
    assert np.mean(shows) > 0.8  # a token in the middle of a ring, or where a moon is hollow, shows nothing of it


def test_a_part_is_shown_by_the_token_of_its_middle_and_by_those_that_it_fills(geometry):
    small, large = Placed((100, 100, 110, 110), "star", "red"), Placed((0, 0, 48, 48), "moon", "blue")
    labels, boxes = labels_of([small, large], (192, 192), (4, 4), geometry)
    grid, grid_boxes = labels[1:].reshape(-1, 2), boxes[1:].reshape(-1, 4)
    stars = grid_boxes[grid[:, 0] == PART_LABELS.index("star")]
    assert stars.tolist() == [[96, 96, 112, 112]]
    moons = grid_boxes[grid[:, 0] == PART_LABELS.index("moon")]
    assert len(moons) == 9 and moons[:, 2:].max() == 48
    assert set(grid[grid[:, 0] == PART_LABELS.index("moon"), 1]) == {COLOUR_LABELS.index("blue")}


def test_what_is_too_small_or_shares_its_token_is_neither_something_nor_nothing(geometry):
    small = Placed((40, 40, 60, 60), "star", "red")
    labels, _ = labels_of([small], (192, 192), (1, 1), geometry)  # patches of 32 px
    assert set(labels[..., 0].flatten()) == {IGNORED, EMPTY}
    pair = [Placed((0, 0, 8, 8), "star", "red"), Placed((8, 8, 16, 16), "moon", "red")]
    labels, _ = labels_of(pair, (192, 192), (4, 4), geometry)
    assert labels[1, 0, 0] == IGNORED


def test_a_batch_that_shows_nothing_legible_teaches_nothing():
    labels = torch.zeros(1, 2, 9, 2, dtype=torch.long)
    labels[..., 0] = IGNORED
    logits = torch.randn(1, 2, 9, EMPTY + 1 + len(COLOUR_LABELS), requires_grad=True)
    loss, right = cell_loss(logits, labels)
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    assert not any(right.values())
    labels[0, 0, 0] = torch.tensor([3, 2])
    alone = torch.nn.functional.cross_entropy(logits[0, 0, :1, : EMPTY + 1], torch.tensor([3]))
    alone = alone + torch.nn.functional.cross_entropy(logits[0, 0, :1, EMPTY + 1 :], torch.tensor([2]))
    torch.testing.assert_close(cell_loss(logits, labels)[0], alone)


def test_a_digit_hides_its_sign(geometry):
    parts = [Placed((0, 0, 48, 32), "sign", "pink"), Placed((16, 8, 32, 24), "7", "pink")]
    labels, boxes = labels_of(parts, (192, 192), (4, 4), geometry)
    names = dict(enumerate((*PART_LABELS, "nothing")))
    shown = {tuple(box[:2]): names.get(part) for box, (part, _) in zip(boxes[1], labels[1], strict=True)}
    assert shown[0, 0] == "sign"
    assert "7" in shown.values()


def test_questions_about_what_a_view_cannot_show_are_not_asked(geometry):
    parts = [Placed((0, 0, 40, 40), "star", "red"), Placed((60, 60, 72, 72), "moon", "blue")]
    asked = [Question(f"what color is the {name}?", "red") for name in ("star", "moon")]
    smallest = legible_px((192, 192), (1, 1), geometry)
    assert smallest == 32
    assert answerable(Scene(None, asked, parts), smallest) == asked[:1]


def test_easy_vqa_is_read_with_its_shape_where_it_is(easy_vqa):
    pictures, rng = EasyVqa(easy_vqa), np.random.default_rng(0)
    found = {drawn.parts[0] for drawn in (pictures.labelled_scene(rng) for _ in range(20))}
    assert found == {
        Placed((8.0, 10.0, 28.0, 40.0), "rectangle", "teal"),
        Placed((9.0, 10.0, 29.0, 40.0), "circle", "red"),
        Placed((10.0, 10.0, 30.0, 40.0), "rectangle", "black"),
    }
    drawn = pictures.scene(rng)
    assert len(drawn.questions) == 4 and drawn.image.size == (64, 64)


def test_the_package_has_the_pictures_that_are_expected():
    pictures = json.loads((installed() / "train/questions.json").read_text())
    assert len(pictures) == 38_575
    assert Image.open(installed() / "train/images/0.png").size == SIZE


def test_batches_have_pictures_of_one_tiling_and_words_that_the_tokenizer_knows(easy_vqa, geometry, tmp_path):
    save_tokenizer(tmp_path)
    tokenizer, recipe, pictures = Tokenizer.load(tmp_path), Recipe().shortened(1), EasyVqa(easy_vqa)
    unknown = tokenizer.encode("zzz")[0]
    for stage in (DRAWN, replace(DRAWN, easy_vqa=1.0)):
        for tier in TIERS_MAX_CROPS:
            rng = np.random.default_rng(2)
            view = View(stage, rng, geometry, tier)
            assert view.tiling == select_tiling(*view.size[::-1], 1, TIERS_MAX_CROPS[tier], geometry)
            batch, datasets = image_batch(recipe, view, rng, pictures, tokenizer)
            assert set(datasets) == {"easy_vqa" if stage.easy_vqa else "coco_2014_vqa"}
            assert not (batch.input_ids == unknown).any()
            (pixels, _), labels = labelled_crops(recipe, view, rng, pictures)
            assert labels.shape[:2] == pixels.shape[:2]
            assert len(pixels) == max(1, round(recipe.vision.crops / view.num_crops))
