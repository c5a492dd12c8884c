"""Prompts of several images at once: each image with all questions about it is one row (`packing.py`)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from adamolmo.backend.interface import PromptMemory
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.budget_prefix import prompt_memories
from adamolmo.model.decoder import Positions
from adamolmo.model.inputs import ModelInputs, collate
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.packing import PackedPrompts, pack


class PackedBatch:
    """`backend.interface.Batch` of MolmoE.

    One cache serves all variants of the knobs: a branch rewrites what differs, and slots that an earlier answer left
    behind are written again before they can be read.
    """

    def __init__(self, model: MolmoE, eos_id: int, groups: Sequence[Sequence[ModelInputs]], max_new_tokens: int):
        self._model, self._eos_id = model, eos_id
        weight = model.lm_head.weight
        self._prompts: PackedPrompts = pack(groups).to(weight.device)
        self._num_questions = [len(group) for group in groups]
        images, questions = self._prompts.last.shape
        tokens = self._prompts.input_ids.shape[1]
        self._cache = model.new_cache(images, tokens + questions * max_new_tokens)
        self._positions = self._prompts.prompt_positions(model.rotary)
        self.real = self._prompts.real
        first = [group[0] for group in groups]
        index = collate(first).image_input_idx.to(weight.device)  # [images, crops, tokens_per_crop]
        prompt = model.embed(self._prompts.input_ids, encode_crops(model, first), index)
        self.hidden = self._prefix(prompt, self._positions)  # [images, tokens, d_model]

    def block(self, hidden: Tensor, block: int, top_k: int, *, remember: bool = True) -> Tensor:
        cache = self._cache if remember else None
        return self._model.forward_blocks(hidden, [block], top_k, self._positions, cache)

    def generate(self, hidden: Tensor, knobs: DecoderKnobs, max_new_tokens: int) -> list[list[list[int]]]:
        images = torch.arange(len(hidden), device=hidden.device)[:, None]
        token = self._most_likely(hidden[images, self._prompts.last])  # [images, questions]
        produced = [token]
        for step in self._decoded(token, knobs, max_new_tokens):
            produced.append(step)
        answers = torch.stack(produced, dim=-1).tolist()
        return [
            [self._until_end(tokens) for tokens in row[:count]]
            for row, count in zip(answers, self._num_questions, strict=True)
        ]

    def memories(self) -> list[PromptMemory]:
        return prompt_memories(self._cache, self._prompts.lengths[:, 0], self._model.config.fixed_prefix_layers)

    def _decoded(self, token: Tensor, knobs: DecoderKnobs, max_new_tokens: int) -> Iterator[Tensor]:
        """The tokens after the first, [images, questions] each, until every question's answer has ended."""
        prompts, blocks = self._prompts, knobs.behind(self._model.config.fixed_prefix_layers)
        running = prompts.asked & (token != self._eos_id)
        for step in range(max_new_tokens - 1):
            if not running.any():
                return
            positions = prompts.decode_positions(self._model.rotary, step)
            x = self._prefix(self._model.transformer["wte"](token), positions)  # [images, questions, d_model]
            token = self._most_likely(self._model.forward_blocks(x, blocks, knobs.top_k, positions, self._cache))
            yield token
            running = running & (token != self._eos_id)

    def _until_end(self, tokens: list[int]) -> list[int]:
        return tokens[: tokens.index(self._eos_id)] if self._eos_id in tokens else tokens

    def _prefix(self, x: Tensor, positions: Positions) -> Tensor:
        config = self._model.config
        return self._model.forward_blocks(x, range(config.fixed_prefix_layers), config.top_k, positions, self._cache)

    def _most_likely(self, hidden: Tensor) -> Tensor:
        """[images, questions, d_model] -> tokens [images, questions]."""
        return self._model.logits(hidden).argmax(dim=-1)


def encode_crops(model: MolmoE, rows: Sequence[ModelInputs]) -> Tensor:
    """Image features of several inputs, [rows, crops, tokens per crop, d_model]; missing crops are zero."""
    weight = model.lm_head.weight
    # All real crops form one row of crops: crops are independent, and padding is not worth encoding.
    pixels, masks = (
        torch.cat([tensor[0] for tensor in tensors])[None].to(weight.device, weight.dtype)  # [1, all crops, ...]
        for tensors in ([row.pixels for row in rows], [row.masks for row in rows])
    )
    encoded = model.vision_backbone(pixels, masks)[0]  # [all crops, tokens_per_crop, d_model]
    counts = [row.num_crops for row in rows]
    features = encoded.new_zeros(len(rows), max(counts), *encoded.shape[1:])
    for row, part in enumerate(encoded.split(counts)):
        features[row, : len(part)] = part
    return features
