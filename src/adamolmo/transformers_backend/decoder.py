"""Forward passes of a model of transformers: vision, a prompt's fixed prefix, the rest, one more token.

Whatever a pass needs to know of an earlier one is in its arguments, nothing in the model: positions are made here and
handed over (M-RoPE families would keep those of the last prompt in the module), caches and recorded calls are values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.transformers_backend.cache import LayerCache
from adamolmo.transformers_backend.families import Family
from adamolmo.transformers_backend.layers import Call, KnobLayers


@dataclass(frozen=True)
class Prompts:
    """Prompts after the fixed prefix, padded on the right.

    Attributes:
        hidden: [rows, tokens, d_model].
        real: where `hidden` is a token, [rows, tokens]; None where nothing is padded.
        next_position: where each prompt's next token stands, [rows].
        calls: what the model's loop passes to each layer behind the prefix.
    """

    hidden: Tensor
    real: Tensor | None
    next_position: Tensor
    calls: Mapping[int, Call]

    def last_hidden(self, hidden: Tensor) -> Tensor:
        """Of each prompt's last token, after whatever layer: [rows, tokens, d_model] -> [rows, d_model]."""
        if self.real is None:
            return hidden[:, -1]
        return hidden[torch.arange(len(hidden), device=hidden.device), self.real.sum(dim=1) - 1]


class Decoder:
    """A model with its knobs.

    Args:
        model: a ...ForConditionalGeneration of the family.
    """

    def __init__(self, model: nn.Module, family: Family, fixed_prefix_layers: int):
        self.model, self.family, self.config = model, family, model.config
        self.layers = KnobLayers(model, fixed_prefix_layers)
        self.prefix = range(fixed_prefix_layers)

    @property
    def device(self) -> torch.device:
        return self.layers.head.weight.device

    def new_cache(self) -> LayerCache:
        return LayerCache(self.layers.num_layers)

    def embed(self, ids: Tensor) -> Tensor:
        return self.layers.text.embed_tokens(ids)

    def see(self, image: Mapping[str, Tensor]) -> SimpleNamespace:
        """What the decoder takes of an image: its tokens, and for DeepStack those of the first layers."""
        found = self.model.base_model.get_image_features(**image, return_dict=True)
        return SimpleNamespace(
            pooler_output=found.pooler_output, deepstack_features=getattr(found, "deepstack_features", None)
        )

    def run_prefix(
        self, ids: Tensor, real: Tensor | None, images: Sequence[Mapping[str, Tensor]], seen: Any, cache: LayerCache
    ) -> Prompts:
        """The model's own forward pass up to the last layer of the prefix.

        Args:
            ids: [rows, tokens].
            real: 1 where it is a token, [rows, tokens]; None where nothing is padded.
            images: of each row.
            seen: of all rows, see `join`.
        """
        positions = self._prompt_positions(ids, real, images)  # [rows, tokens] or [3, rows, tokens]
        marks = {}
        if self.family.vision_tokens:
            tokens = [getattr(self.config, name) for name in self.family.vision_tokens]
            marks["moe_mm_token_type_ids"] = torch.isin(ids, torch.tensor(tokens, device=ids.device)).long()
        with self.layers.knobs(blocks=self.prefix) as done:
            self.model.base_model(
                input_ids=ids,
                attention_mask=real,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                mm_encoder_outputs={"image": seen},
                **marks,
            )
        cache.seen = ids.shape[1]
        furthest = positions.amax(dim=0) if positions.ndim == 3 else positions  # [rows, tokens]
        return Prompts(done.last_hidden, real, furthest.amax(dim=1) + 1, done.recorded)

    def run_blocks(
        self, hidden: Tensor, prompts: Prompts, blocks: Iterable[int], top_k: int, cache: LayerCache | None
    ) -> Tensor:
        """Layers behind the prefix on prompts: [rows, tokens, d_model] -> the same."""
        return self.layers.run(hidden, prompts.calls, blocks, top_k, cache)

    def run_token(
        self,
        token: Tensor,
        position: Tensor,
        cache: LayerCache,
        *,
        blocks: Iterable[int],
        top_k: int | None = None,
        real: Tensor | None = None,
    ) -> Tensor:
        """One more token per row through these layers: embeddings [rows, d_model] -> hidden states [rows, d_model].

        Args:
            position: where the tokens stand, [rows].
            real: 1 where the cache has a token, the new one included, [rows, seen + 1]; None where nothing is padded.
        """
        with self.layers.knobs(top_k, blocks) as done:
            self.layers.text(
                inputs_embeds=token[:, None],
                attention_mask=real,
                position_ids=self._grid(position[:, None]),
                past_key_values=cache,
                use_cache=True,
            )
        cache.seen += 1
        return done.last_hidden[:, 0]

    def _prompt_positions(self, ids: Tensor, real: Tensor | None, images: Sequence[Mapping[str, Tensor]]) -> Tensor:
        if not self.family.grid_positions:
            # A padded token is not counted; the model's own default would.
            counted = torch.ones_like(ids) if real is None else real
            return (counted.cumsum(dim=1) - 1).clamp(min=0)
        positions, _ = self.model.base_model.get_rope_index(
            input_ids=ids,
            mm_token_type_ids=(ids == self.config.image_token_id).int(),
            image_grid_thw=torch.cat([image["image_grid_thw"] for image in images]),
            attention_mask=real,
        )
        return positions

    def _grid(self, positions: Tensor) -> Tensor:
        """Positions of text, [rows, tokens], as the model takes them."""
        return grid(positions, self.family)


def grid(positions: Tensor, family: Family) -> Tensor:
    """Positions of text, [rows, tokens], as a family takes them: text stands at the same position on all three axes."""
    return positions.expand(3, -1, -1) if family.grid_positions else positions


def join(seen: Sequence[SimpleNamespace]) -> SimpleNamespace:
    """What was seen of several images, as one batch: per image a tensor, or all crops in one."""
    pooled = [one.pooler_output for one in seen]
    if torch.is_tensor(pooled[0]):
        return SimpleNamespace(pooler_output=torch.cat(pooled))
    levels = None
    if seen[0].deepstack_features is not None:  # of each level the images
        levels = [
            [part for one in level for part in one] for level in zip(*(s.deepstack_features for s in seen), strict=True)
        ]
    return SimpleNamespace(pooler_output=[part for one in pooled for part in one], deepstack_features=levels)


def image_tokens(seen: SimpleNamespace) -> Tensor:
    """Of one image, [tokens, d_model]; families have them per crop or per image."""
    pooled = seen.pooler_output
    return pooled.flatten(0, 1) if torch.is_tensor(pooled) else torch.cat(list(pooled))


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Rows of ids [1, tokens] as [rows, tokens], padded on the right, and where it is real; None where all is."""
    longest = max(row.shape[1] for row in rows)
    ids = torch.cat([F.pad(row, (0, longest - row.shape[1])) for row in rows])
    if all(row.shape[1] == longest for row in rows):
        return ids, None
    return ids, torch.cat([F.pad(torch.ones_like(row), (0, longest - row.shape[1])) for row in rows])
