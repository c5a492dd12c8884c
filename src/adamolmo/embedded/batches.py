"""Training batches: several questions about one image share its tokens.

A row is [BOS, image tokens, question 1 + answer, question 2 + answer, ...]. Every question sees the image and itself,
not the other questions, and its positions continue from the image: exactly what the model sees when asked alone.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adamolmo.data.procedural import Question
from adamolmo.model.preprocess import ImageCrops, PreprocessConfig, image_token_ids
from adamolmo.model.tokenizer import Tokenizer, format_prompt


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
