"""Many prompts at once, one per row: for passes that are not timed. An image is seen once for all its questions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adamolmo.backend.interface import PromptMemory
from adamolmo.knobs import DecoderKnobs
from adamolmo.transformers_backend.decoder import Decoder, join, pad
from adamolmo.transformers_backend.processing import ImagePrompt


class Batch:
    """See `adamolmo.backend.interface.Batch`; runs vision and the fixed prefix.

    Args:
        groups: on the device, of each image its prompts.
    """

    def __init__(self, decoder: Decoder, groups: Sequence[Sequence[ImagePrompt]], end_ids: frozenset[int]):
        self._decoder, self._end_ids = decoder, end_ids
        self._questions = [len(group) for group in groups]
        rows = [prompt for group in groups for prompt in group]
        seen = [one for group in groups for one in [decoder.see(group[0].image)] * len(group)]
        ids, mask = pad([prompt.input_ids for prompt in rows])
        self._cache = decoder.new_cache()
        self._prompts = decoder.run_prefix(ids, mask, [prompt.image for prompt in rows], join(seen), self._cache)
        self._lengths = [prompt.num_tokens for prompt in rows]
        self.hidden = self._prompts.hidden
        self.real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()

    def block(self, hidden: Tensor, block: int, top_k: int, *, remember: bool = True) -> Tensor:
        cache = self._cache if remember else None
        if remember:
            self._cache.forget(block)
        return self._decoder.run_blocks(hidden, self._prompts, [block], top_k, cache)

    def generate(self, hidden: Tensor, knobs: DecoderKnobs, max_new_tokens: int) -> list[list[list[int]]]:
        decoder, cache = self._decoder, self._cache.fork()
        token = decoder.layers.logits(self._prompts.last_hidden(hidden)).argmax(dim=-1)  # [rows]
        produced, real, position = [token], self._prompts.real, self._prompts.next_position
        ends = torch.tensor(sorted(self._end_ids), device=token.device)
        running = ~torch.isin(token, ends)
        while len(produced) < max_new_tokens and running.any():
            real = None if real is None else F.pad(real, (0, 1), value=1)
            state = decoder.run_token(
                decoder.embed(token), position, cache, blocks=knobs.blocks, top_k=knobs.top_k, real=real
            )
            token, position = decoder.layers.logits(state).argmax(dim=-1), position + 1
            produced.append(token)
            running = running & ~torch.isin(token, ends)
        answers = iter([self._until_end(row) for row in torch.stack(produced, dim=-1).tolist()])
        return [[next(answers) for _ in range(count)] for count in self._questions]

    def memories(self) -> list[PromptMemory]:
        layers = [self._cache.layers[layer] for layer in self._decoder.prefix]
        # [layers, 2, rows, kv_heads, tokens, head_dim] -> [rows, layers, 2, tokens, kv_width]
        entries = torch.stack([torch.stack([layer.keys, layer.values]) for layer in layers])
        entries = entries.permute(2, 0, 1, 4, 3, 5).flatten(4)
        positions = self._prompts.next_position.tolist()
        return [
            PromptMemory(row[:, :, :length], position)
            for row, length, position in zip(entries, self._lengths, positions, strict=True)
        ]

    def _until_end(self, tokens: list[int]) -> list[int]:
        return tokens[: next((index for index, token in enumerate(tokens) if token in self._end_ids), len(tokens))]
