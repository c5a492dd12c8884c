"""Analytic cost of a request's stages from the module tree alone: sizes of weights, no names of configurations.

FLOPs are those of matrix products and attention, two per multiply-add and the causal half of attention not spared, as
torch.utils.flop_counter counts them. Bytes are estimates: every weight that a stage touches is read once. Where a layer
has experts of its own for image tokens, every token counts as text: an upper bound, as these experts are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from adamolmo.backend.cost import Cost
from adamolmo.files.model import Work
from adamolmo.knobs import DecoderKnobs
from adamolmo.transformers_backend.decoder import Decoder
from adamolmo.transformers_backend.layers import experts_of

_HEAD_LAUNCHES = 8
_ACTIVATIONS_PER_UNIT = 64  # of vision alive at once, in widths of the decoder per image token or crop's token


@dataclass(frozen=True)
class LayerSizes:
    """Weights of a decoder layer.

    Attributes:
        dense: of matrices that every token passes.
        expert: of one expert; 0 in a layer without.
        num_experts: of them.
        attention: width of all heads' queries.
        kv: width of keys, which is that of values.
    """

    dense: int
    expert: int
    num_experts: int
    attention: int
    kv: int


class CostModel:
    """Costs of a model's stages at batch 1.

    Attributes:
        element_bytes: of one weight and of one activation.
    """

    def __init__(self, decoder: Decoder, work: Work):
        layers = decoder.layers
        self.work, self.attends_to_all = work, decoder.family.attends_to_all
        self.element_bytes = layers.head.weight.element_size()
        self.full_top_k, self.prefix_layers = layers.top_k, decoder.prefix
        self.d_model = layers.head.in_features
        self.head_weights = layers.head.weight.numel()
        self.layers = [layer_sizes(layer) for layer in layers.text.layers]
        self._num_weights = sum(parameter.numel() for parameter in decoder.model.parameters())
        in_layers = sum(parameter.numel() for parameter in layers.text.parameters())
        self._vision_weights = max(self._num_weights - in_layers - self.head_weights, 0)

    def vision(self, num_crops: int) -> Cost:
        flops = self._vision_flops(num_crops)
        traffic = self._vision_weights + num_crops * _ACTIVATIONS_PER_UNIT * self.d_model
        return self._cost(flops, traffic, self.work.vision_launches)

    def _vision_flops(self, units: int) -> float:
        """Through the origin and the images that were tried."""
        x, y = np.array([0, *self.work.vision_units]), np.array([0.0, *self.work.vision_flops])
        if self.attends_to_all:
            linear, squared = np.linalg.solve(x[1:, None] ** np.array([1.0, 2.0]), y[1:])
            return float(linear * units + squared * units**2)
        slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
        return float(np.interp(units, x, y) + max(units - x[-1], 0) * slope)

    def prefix(self, num_tokens: int) -> Cost:
        return self._blocks(self.prefix_layers, num_tokens, num_tokens, self.full_top_k)

    def adaptive(self, num_tokens: int, knobs: DecoderKnobs) -> Cost:
        return self._blocks(self._adaptive(knobs), num_tokens, num_tokens, knobs.top_k) + self._head()

    def decode(self, prompt_tokens: int, steps: int, knobs: DecoderKnobs) -> Cost:
        total = Cost()
        for step in range(steps):
            keys = prompt_tokens + step + 1
            total += self._blocks(self.prefix_layers, 1, keys, self.full_top_k)
            total += self._blocks(self._adaptive(knobs), 1, keys, knobs.top_k) + self._head()
        return total

    def memory_bytes(self, num_crops: int, num_tokens: int, max_new_tokens: int, top_k: int) -> int:
        cache = 2 * sum(layer.kv for layer in self.layers) * (num_tokens + max_new_tokens)
        vision = num_crops * _ACTIVATIONS_PER_UNIT * self.d_model
        widest = (
            max(layer.expert for layer in self.layers) // self.d_model
        )  # three matrices of an expert, one width each
        decoder = num_tokens * (10 * self.d_model + top_k * (widest + 2 * self.d_model))
        return (self._num_weights + cache + max(vision, decoder)) * self.element_bytes

    def num_weights(self) -> int:
        return self._num_weights

    def _adaptive(self, knobs: DecoderKnobs) -> tuple[int, ...]:
        return knobs.behind(len(self.prefix_layers))

    def _blocks(self, blocks: range | tuple[int, ...], tokens: int, keys: int, top_k: int) -> Cost:
        total = Cost()
        for block in blocks:
            total += self._layer(self.layers[block], tokens, keys, top_k)
        return total

    def _layer(self, layer: LayerSizes, tokens: int, keys: int, top_k: int) -> Cost:
        flops = tokens * (2 * layer.dense + 2 * top_k * layer.expert + 4 * keys * layer.attention)
        hit = layer.num_experts * (1 - (1 - top_k / layer.num_experts) ** tokens) if layer.num_experts else 0
        activations = 2 * keys * layer.kv + tokens * 10 * self.d_model
        if layer.num_experts:
            activations += tokens * top_k * (layer.expert // self.d_model + 2 * self.d_model)
        return self._cost(flops, layer.dense + hit * layer.expert + activations, self.work.layer_launches)

    def _head(self) -> Cost:
        return self._cost(2 * self.head_weights, self.head_weights, _HEAD_LAUNCHES)

    def _cost(self, flops: float, elements: float, launches: int) -> Cost:
        return Cost(float(flops), float(elements) * self.element_bytes, launches)


def layer_sizes(layer: nn.Module) -> LayerSizes:
    """Read off a decoder layer of transformers."""
    stacks = experts_of(layer)
    skipped = tuple(f"{name}." for name, _ in stacks[:1])
    # A second stack is of image tokens: its router and experts are nobody else's.
    skipped += tuple(f"{name.rpartition('.')[0]}." for name, _ in stacks[1:])
    matrices = [
        weight
        for name, weight in layer.named_parameters()
        if name.endswith("weight") and weight.ndim == 2 and not name.startswith(skipped)
    ]
    expert = num_experts = 0
    if stacks:
        _, experts = stacks[0]
        expert = experts.gate_up_proj[0].numel() + experts.down_proj[0].numel()
        num_experts = len(experts.down_proj)
    attention = layer.self_attn
    return LayerSizes(
        dense=sum(matrix.numel() for matrix in matrices),
        expert=expert,
        num_experts=num_experts,
        attention=attention.o_proj.in_features,
        kv=attention.k_proj.out_features,
    )
