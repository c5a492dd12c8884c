"""What is shown and asked at each step, as a function of seed, phase, shard and step."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from adamolmo.data.procedural import (
    CANVASES_PX,
    COLOURS,
    SHAPES,
    Question,
    Scene,
    Size,
    crowded_scene,
    entity_questions,
    reading_lesson,
    scene,
)
from adamolmo.embedded import easy_vqa
from adamolmo.embedded.batches import PackedBatch, pack_images
from adamolmo.embedded.easy_vqa import EasyVqa
from adamolmo.embedded.labels import answerable, legible_px, token_boxes, token_labels
from adamolmo.embedded.recipe import STYLES, TIERS_MAX_CROPS, Phase, Recipe, Stage
from adamolmo.model.preprocess import ImageCrops, PreprocessConfig, image_size, preprocess, select_tiling
from adamolmo.model.tokenizer import Tokenizer

DATASET_OF_SCENE = {
    "text_vqa": "text_vqa",
    "one_sign": "text_vqa",
    "choose": "text_vqa",
    "okvqa": "okvqa",
    "coco_2014_vqa": "coco_2014_vqa",
    "existence": "coco_2014_vqa",
}
_CROWD_PX = (8, 16, 32)  # smallest things of a crowd
_QUESTION_TOKENS = 14  # with the answer, about


def rng_of(recipe: Recipe, purpose: Phase | str, shard: int, step: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, sum(purpose.encode()), shard, step])


def choice(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """One of the keys, as often as its share of all says."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


class View:
    """How the pictures of a batch are shown: their size, and the crops of a tier."""

    def __init__(self, stage: Stage, rng: np.random.Generator, config: PreprocessConfig, tier: str):
        self.stage = stage
        self.is_easy_vqa = rng.random() < stage.easy_vqa
        self.size = easy_vqa.SIZE if self.is_easy_vqa else CANVASES_PX[rng.integers(len(CANVASES_PX))]
        self.tier, self.config, self.max_crops = tier, config, TIERS_MAX_CROPS[tier]
        self.tiling = select_tiling(*self.size[::-1], 1, self.max_crops, config)
        self.num_crops, self.num_tokens = image_size(*self.size[::-1], 1, self.max_crops, config)
        self.smallest_px = legible_px(self.size, self.tiling, config)

    def crops(self, drawn: Scene) -> ImageCrops:
        return preprocess(drawn.image, 1, self.max_crops, self.config)


def crowd(view: View, rng: np.random.Generator) -> Scene:
    """As many things as find room, most of them as large as the view just shows, or larger."""
    smallest = next(px for px in _CROWD_PX if px >= view.smallest_px)
    return crowded_scene(smallest, "training", _number(rng), view.size)


def labelled_crops(
    recipe: Recipe, view: View, rng: np.random.Generator, pictures: EasyVqa
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Crops of crowded scenes, or of easy-VQA's pictures: pixels and masks as the tower takes them, and what their
    tokens show, [images, crops, tokens, 2]."""
    count = max(1, round(recipe.vision.crops / view.num_crops))
    drawn = [pictures.labelled_scene(rng) if view.is_easy_vqa else crowd(view, rng) for _ in range(count)]
    crops = [view.crops(s) for s in drawn]
    boxes = token_boxes(view.size, view.tiling, view.config)
    inputs = torch.stack([c.pixels for c in crops]), torch.stack([c.masks for c in crops])
    return inputs, torch.from_numpy(np.stack([token_labels(s.parts, boxes) for s in drawn]))


def knowledge_row(rng: np.random.Generator, count: int) -> list[Question]:
    """Questions about random entities, each called by its colour and shape."""
    row = []
    for shape, colour in zip(rng.choice(SHAPES, count), rng.choice(list(COLOURS), count), strict=True):
        asked = entity_questions((str(shape), str(colour)), f"{colour} {shape}")
        row.append(asked[rng.integers(len(asked))])
    return row


def image_batch(
    recipe: Recipe,
    view: View,
    rng: np.random.Generator,
    pictures: EasyVqa,
    tokenizer: Tokenizer,
) -> tuple[PackedBatch, list[str]]:
    """Pictures with questions that the view can answer, and the dataset of each."""
    asked_per_image = recipe.joint.questions_per_image
    length = view.num_tokens + asked_per_image * _QUESTION_TOKENS
    datasets, shown, questions = [], [], []
    while len(shown) < max(1, round(recipe.joint.tokens / length)):
        kind = "easy_vqa" if view.is_easy_vqa else choice(rng, view.stage.scenes)
        picture = pictures.scene(rng) if view.is_easy_vqa else _lesson(kind, view.size, rng)
        if asked := answerable(picture, view.smallest_px):
            datasets.append(DATASET_OF_SCENE.get(kind, kind))
            shown.append(picture)
            questions.append(asked[:asked_per_image])
    crops = [view.crops(s) for s in shown]
    return pack_images(crops, questions, [STYLES[d] for d in datasets], tokenizer, view.config), datasets


def _lesson(kind: str, canvas: Size, rng: np.random.Generator) -> Scene:
    """A training scene, or an easier one that teaches a part of it: to read one sign, to choose among signs of one
    digit, to see whether something is there."""
    if kind in ("one_sign", "choose"):
        return reading_lesson(kind, "training", _number(rng), canvas)
    result = scene(DATASET_OF_SCENE[kind], "training", _number(rng), canvas)
    if kind == "existence":
        result.questions = [question for question in result.questions if question.text.startswith("is there")]
    return result


def _number(rng: np.random.Generator) -> int:
    """Of a scene of the training stream."""
    return int(rng.integers(2**40))
