"""Keys and values of a decoder of which some layers do not run."""

from __future__ import annotations

import copy

from adamolmo.transformers_backend.library import transformers


class LayerCache(transformers.Cache):
    """A cache that knows its own length.

    Masks and positions are made from it; transformers asks one layer for it, which is 0 in a layer that was skipped.

    Attributes:
        seen: positions before the current pass; whoever runs a pass counts them.
    """

    def __init__(self, num_layers: int):
        super().__init__(layers=[transformers.cache_utils.DynamicLayer() for _ in range(num_layers)])
        self.seen = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.seen

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def forget(self, layer: int) -> None:
        self.layers[layer] = transformers.cache_utils.DynamicLayer()

    def fork(self) -> LayerCache:
        """A branch of its own. Layers replace their tensors and never write into them, so these are shared."""
        branch = copy.copy(self)
        branch.layers = [copy.copy(layer) for layer in self.layers]
        return branch
