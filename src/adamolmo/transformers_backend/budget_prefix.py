"""The fixed prefix alone, for budget tokens behind stored prompts: training runs it with gradients to the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamolmo.transformers_backend.cache import LayerCache
from adamolmo.transformers_backend.decoder import grid
from adamolmo.transformers_backend.families import Family


class BudgetPrefix:
    """Args:
    text: the decoder's first layers, without a final norm (`loading.load_first_layers`).
    """

    def __init__(self, text: nn.Module, family: Family):
        self.text, self.family = text, family

    @property
    def device(self) -> torch.device:
        return self.text.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.text.embed_tokens.weight.dtype

    def __call__(self, tokens: Tensor, entries: Tensor, lengths: Tensor, positions: Tensor) -> Tensor:
        """See `adamolmo.backend.interface.BudgetPrefix`: [rows, tokens, d_model] -> the same."""
        rows, count = tokens.shape[:2]
        slots = entries.shape[3]
        in_prompt = torch.arange(slots, device=tokens.device) < lengths[:, None]  # [rows, slots]
        itself = torch.eye(count, dtype=torch.bool, device=tokens.device)
        # [rows, 1, tokens, slots + tokens]
        mask = torch.cat([in_prompt[:, None].expand(-1, count, -1), itself.expand(rows, -1, -1)], dim=-1)[:, None]
        return self.text(
            inputs_embeds=tokens,
            attention_mask=mask,
            position_ids=grid(positions[:, None].expand(-1, count), self.family),
            past_key_values=self._cache(entries),
            use_cache=True,
        ).last_hidden_state

    def _cache(self, entries: Tensor) -> LayerCache:
        """[layers, 2, rows, slots, kv_width] as a cache."""
        heads = self.text.config.num_key_value_heads
        cache = LayerCache(len(entries))
        for layer, pair in enumerate(entries):
            keys, values = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in pair)
            cache.update(keys, values, layer)  # each [rows, kv_heads, slots, head_dim]
        cache.seen = entries.shape[3]
        return cache
