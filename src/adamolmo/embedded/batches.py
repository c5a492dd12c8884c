"""Training batches: several questions about one image share its tokens.

A row is [BOS, image tokens, question 1 + answer, question 2 + answer, ...]. Every question sees the image and itself,
not the other questions, and its positions continue from the image: exactly what the model sees when asked alone.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adamolmo.data.procedural import COLOURS, LARGEST_CANVAS_PX, SHAPES, Placed, Question, Scene
from adamolmo.model.preprocess import ImageCrops, PreprocessConfig, image_token_ids
from adamolmo.model.tokenizer import Tokenizer, format_prompt

PART_LABELS = ("sign", *SHAPES, *map(str, range(10)))
EMPTY = len(PART_LABELS)


@dataclass(frozen=True)
class PackedBatch:
    """Rows of packed questions.

    Attributes:
        input_ids: [batch, tokens], -1 is padding.
        position_ids: [batch, tokens].
        mask: True where a token may see another, [batch, 1, tokens, tokens].
        targets: the next token at each position that predicts an answer, else -100, [batch, tokens].
        pixels, masks, image_input_idx: the crops, as the model takes them; None for text alone.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    targets: Tensor
    pixels: Tensor | None = None
    masks: Tensor | None = None
    image_input_idx: Tensor | None = None


def pack_images(
    crops: list[ImageCrops],
    questions: list[list[Question]],
    style: list[str],
    tokenizer: Tokenizer,
    config: PreprocessConfig,
) -> PackedBatch:
    """One row per image; all images must have the same tiling."""
    prefix = [tokenizer.eos_id, *image_token_ids(crops[0].tiling, config, tokenizer.specials)]
    batch = pack_questions(prefix, questions, style, tokenizer)
    positions = torch.stack([c.patch_positions for c in crops])
    return replace(
        batch,
        pixels=torch.stack([c.pixels for c in crops]),
        masks=torch.stack([c.masks for c in crops]),
        image_input_idx=torch.where(positions < 0, positions, positions + 1),
    )


def pack_questions(
    prefix: list[int], questions: list[list[Question]], styles: list[str], tokenizer: Tokenizer
) -> PackedBatch:
    """Rows that start with the same prefix tokens."""
    rows = [[_tokens(q, style, tokenizer) for q in asked] for asked, style in zip(questions, styles, strict=True)]
    length = len(prefix) + max(sum(len(prompt) + len(answer) for prompt, answer in row) for row in rows)
    ids, targets = np.full((len(rows), length), -1), np.full((len(rows), length), -100)
    positions, segments = np.zeros((len(rows), length), int), np.zeros((len(rows), length), int)
    ids[:, : len(prefix)], positions[:, : len(prefix)] = prefix, np.arange(len(prefix))
    for i, row in enumerate(rows):
        start = len(prefix)
        for number, (prompt, answer) in enumerate(row, start=1):
            end = start + len(prompt) + len(answer)
            ids[i, start:end] = prompt + answer
            targets[i, start + len(prompt) - 1 : end - 1] = answer
            positions[i, start:end] = len(prefix) + np.arange(end - start)
            segments[i, start:end] = number
            start = end
        segments[i, start:] = len(row) + 1
    segments = torch.from_numpy(segments)
    same = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    mask = (same & torch.ones(length, length, dtype=torch.bool).tril())[:, None]
    return PackedBatch(torch.from_numpy(ids), torch.from_numpy(positions), mask, torch.from_numpy(targets))


def _tokens(question: Question, style: str, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    prompt = tokenizer.encode(format_prompt(question.text, style))
    return prompt, [*tokenizer.encode(f" {question.answer}"), tokenizer.eos_id]


def answerable(scene: Scene, smallest_px: float) -> list[Question]:
    """The questions that mention nothing smaller than `smallest_px` on the canvas: what a tier cannot show is not
    worth learning from."""
    too_small = [part for part in scene.parts if min(_sides(part)) < smallest_px]
    hidden = {part.label for part in too_small} | {part.colour for part in too_small}
    return [question for question in scene.questions if not hidden & set(question.text.split())]


def _sides(part: Placed) -> tuple[float, float]:
    left, top, right, bottom = part.box
    # Digits are narrower than they are high; their height is what makes them legible.
    return (bottom - top,) * 2 if part.label.isdigit() else (right - left, bottom - top)


def cell_labels(parts: list[Placed], grid: int) -> np.ndarray:
    """What each cell of a grid x grid partition of the largest canvas shows: [grid, grid, 2] of (part, colour).

    A part counts where it covers a good share of the cell, or the cell a good share of it; later parts (digits) hide
    earlier ones (their sign). (EMPTY, 0) where there is none.
    """
    labels = np.zeros((grid, grid, 2), np.int64)
    labels[..., 0] = EMPTY
    cell = LARGEST_CANVAS_PX[0] / grid
    edges = np.arange(grid) * cell
    for part in parts:
        left, top, right, bottom = part.box
        width = np.clip(np.minimum(edges + cell, right) - np.maximum(edges, left), 0, None)
        height = np.clip(np.minimum(edges + cell, bottom) - np.maximum(edges, top), 0, None)
        covered = height[:, None] * width[None, :] / min(cell * cell, (right - left) * (bottom - top))
        labels[covered > 0.4] = PART_LABELS.index(part.label), list(COLOURS).index(part.colour)
    return labels


def crop_labels(parts: list[Placed], tiling: tuple[int, int], crop_tokens: int) -> np.ndarray:
    """Labels of every token of every high-resolution crop: [crops, crop_tokens ** 2, 2].

    For square tilings without overlap margins, as the embedded model has them.
    """
    side = tiling[0]
    grid = cell_labels(parts, side * crop_tokens).reshape(side, crop_tokens, side, crop_tokens, -1)
    return grid.transpose(0, 2, 1, 3, 4).reshape(side * side, crop_tokens**2, -1)
