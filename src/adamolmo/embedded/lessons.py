"""What is shown and asked at each step, as a function of seed, phase, worker and step."""

import numpy as np
import torch
from torch import Tensor

from adamolmo.data.procedural import (
    COLOURS,
    SHAPES,
    Question,
    Scene,
    crowded_scene,
    entity_questions,
    reading_lesson,
    scene,
)
from adamolmo.embedded.batches import PackedBatch, answerable, crop_labels, pack_images
from adamolmo.embedded.recipe import (
    DATASET_SHARES,
    EXISTENCE_SHARE,
    LESSON_SHARES,
    STYLE_OF_DATASET,
    Recipe,
    TrainingTier,
)
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, preprocess


def rng_of(recipe: Recipe, phase: str, rank: int, step: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, sum(phase.encode()), rank, step])


def training_scene(dataset: str, rng: np.random.Generator) -> Scene:
    return scene(dataset, "training", _scene_number(rng))


def _lesson_scene(dataset: str, rng: np.random.Generator) -> Scene:
    """A training scene, or an easier one that teaches a part of it."""
    if dataset == "text_vqa":
        lesson = rng.choice([*LESSON_SHARES, None], p=[*LESSON_SHARES.values(), 1 - sum(LESSON_SHARES.values())])
        if lesson is not None:
            return reading_lesson(lesson, "training", _scene_number(rng))
    result = training_scene(dataset, rng)
    if dataset == "coco_2014_vqa" and rng.random() < EXISTENCE_SHARE:
        result.questions = [question for question in result.questions if question.text.startswith("is there")]
    return result


def _scene_number(rng: np.random.Generator) -> int:
    return int(rng.integers(2**40))


def labelled_crops(model: MolmoE, tier: TrainingTier, count: int, rng) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """High-resolution crops of crowded scenes with the labels of their tokens. The overview is left out: several parts
    share each of its tokens."""
    config = PreprocessConfig.of_model(model.config)
    drawn = [crowded_scene(tier.smallest_px, "training", _scene_number(rng)) for _ in range(count)]
    crops = [preprocess(s.image, 1, tier.max_crops, config) for s in drawn]
    labels = [crop_labels(s.parts, c.tiling, config.crop_tokens[0]) for s, c in zip(drawn, crops, strict=True)]
    inputs = torch.stack([c.pixels[1:] for c in crops]), torch.stack([c.masks[1:] for c in crops])
    return inputs, torch.from_numpy(np.stack(labels))


def knowledge_row(rng, count: int) -> list[Question]:
    """Questions about random entities, each called by its colour and shape."""
    row = []
    for shape, colour in zip(rng.choice(SHAPES, count), rng.choice(list(COLOURS), count), strict=True):
        asked = entity_questions((str(shape), str(colour)), f"{colour} {shape}")
        row.append(asked[rng.integers(len(asked))])
    return row


def batch_size(images: int, recipe: Recipe) -> int:
    return max(1, round(images * recipe.batch_share))


def image_batch(
    model, tokenizer, recipe: Recipe, tier: TrainingTier, rng, lessons: bool
) -> tuple[PackedBatch, list[str]]:
    config = PreprocessConfig.of_model(model.config)
    datasets, drawn, questions = [], [], []
    while len(drawn) < batch_size(tier.joint_images, recipe):
        dataset = str(rng.choice(list(DATASET_SHARES), p=list(DATASET_SHARES.values())))
        candidate = _lesson_scene(dataset, rng) if lessons else training_scene(dataset, rng)
        asked = answerable(candidate, tier.smallest_px)
        if asked:
            datasets.append(dataset)
            drawn.append(candidate)
            questions.append(asked[: recipe.questions_per_image])
    crops = [preprocess(s.image, 1, tier.max_crops, config) for s in drawn]
    return pack_images(crops, questions, [STYLE_OF_DATASET[d] for d in datasets], tokenizer, config), datasets
