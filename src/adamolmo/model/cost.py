"""Analytic cost of a request's stages: floating point operations, memory traffic and kernel launches.

FLOPs count what matrix products and attention do, two per multiply-add and the causal half of attention not spared, as
torch.utils.flop_counter does. Bytes and launches are estimates: every weight that a stage touches is read once, and the
launches per block are those of this implementation, counted once by hand.
"""

from adamolmo.backend.cost import Cost
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.preprocess import num_pictures

_TOWER_LAUNCHES = 8
_CONNECTOR_LAUNCHES = 32
_VISION_BLOCK_LAUNCHES = 19
_DECODER_LAUNCHES = 8
_ATTENTION_LAUNCHES = 28
_ROUTER_LAUNCHES = 7
_GROUPED_LAUNCHES = 14
_SINGLE_EXPERT_LAUNCHES = 5


class CostModel:
    """Costs of a model's stages at batch 1.

    Args:
        config: sizes of the model.
        element_bytes: bytes of one weight and of one activation.
    """

    def __init__(self, config: MolmoEConfig, element_bytes: int = 4):
        self.config = config
        self.element_bytes = element_bytes

    def vision(self, num_crops: int) -> Cost:
        """An image's crops, the overview included, through pooling and projector, and what differs among them through
        the tower."""
        return self.tower(num_pictures(num_crops)) + self.connector(num_crops)

    def tower(self, num_crops: int) -> Cost:
        """So many crops through the vision transformer alone."""
        vision = self.config.vision
        width, inner = vision.width, vision.num_heads * vision.head_dim
        positions, patches = vision.num_positions, vision.num_positions - 1
        block = 8 * positions * width * inner + 4 * positions**2 * inner + 4 * positions * width * vision.mlp_dim
        embedding = 2 * patches * vision.patch_size**2 * 3 * width
        traffic = num_crops * positions * self._num_vision_blocks * (8 * width + 2 * vision.mlp_dim)
        launches = _TOWER_LAUNCHES + self._num_vision_blocks * _VISION_BLOCK_LAUNCHES
        return self._cost(
            num_crops * (embedding + self._num_vision_blocks * block), self._tower_weights() + traffic, launches
        )

    def connector(self, num_crops: int) -> Cost:
        """Patch features of the crops through pooling and projector."""
        config, vision = self.config, self.config.vision
        width, inner = vision.width, vision.num_heads * vision.head_dim
        tokens, window = config.tokens_per_crop, config.pooling[0] * config.pooling[1]
        feature_dim = len(config.vit_layers) * width
        pooling = 2 * tokens * (feature_dim * inner * (1 + 2 * window) + 2 * window * inner + inner**2)
        projector = 2 * tokens * config.projector_dim * (2 * width + config.d_model)
        return self._cost(num_crops * (pooling + projector), self._connector_weights(), _CONNECTOR_LAUNCHES)

    def prefix(self, num_tokens: int) -> Cost:
        """A prompt (and its budget token, if it has one) through the blocks of the fixed prefix."""
        return self._blocks(self.config.fixed_prefix_layers, num_tokens, num_tokens, self.config.top_k)

    def adaptive(self, num_tokens: int, knobs: DecoderKnobs) -> Cost:
        """A prompt through the active blocks behind the prefix; its last token through the last experts and head."""
        num_blocks = self._num_adaptive(knobs)
        if num_blocks == 0:
            return self._head()
        last = self._attention(num_tokens, num_tokens) + self._experts(1, knobs.top_k)
        return self._blocks(num_blocks - 1, num_tokens, num_tokens, knobs.top_k) + last + self._head()

    def decode(self, prompt_tokens: int, steps: int, knobs: DecoderKnobs) -> Cost:
        """`steps` forward passes of one token each, after a prompt of `prompt_tokens`."""
        total = Cost()
        for step in range(steps):
            keys = prompt_tokens + step + 1
            total += self._blocks(self.config.fixed_prefix_layers, 1, keys, self.config.top_k)
            total += self._blocks(self._num_adaptive(knobs), 1, keys, knobs.top_k) + self._head()
        return total

    def memory_bytes(self, num_crops: int, num_tokens: int, max_new_tokens: int, top_k: int) -> int:
        """Estimated peak memory of a request: all weights, the key-value cache and the larger stage's activations."""
        config, vision = self.config, self.config.vision
        cache = 2 * config.num_layers * config.d_model * (num_tokens + max_new_tokens)
        tower = num_crops * vision.num_positions * ((vision.num_layers + 6) * vision.width + 2 * vision.mlp_dim)
        decoder = num_tokens * (10 * config.d_model + top_k * (3 * config.expert_dim + 2 * config.d_model))
        return (self.num_weights() + cache + max(tower, decoder)) * self.element_bytes

    def num_weights(self) -> int:
        config = self.config
        block = self._attention_weights() + self._router_weights() + config.num_experts * self._expert_weights()
        embeddings = (2 * config.embedding_size + config.additional_vocab_size) * config.d_model
        return self._vision_weights() + config.num_layers * block + embeddings + config.d_model

    def _blocks(self, num_blocks: int, tokens: int, keys: int, top_k: int) -> Cost:
        return (self._attention(tokens, keys) + self._experts(tokens, top_k)) * num_blocks

    def _attention(self, tokens: int, keys: int) -> Cost:
        d = self.config.d_model
        flops = tokens * (8 * d * d + 4 * keys * d)
        traffic = 2 * keys * d + tokens * 7 * d
        return self._cost(flops, self._attention_weights() + traffic, _ATTENTION_LAUNCHES)

    def _experts(self, tokens: int, top_k: int) -> Cost:
        """Router and experts of one block."""
        config, d = self.config, self.config.d_model
        flops = tokens * (2 * d * config.num_experts + 6 * top_k * d * config.expert_dim)
        experts_hit = config.num_experts * (1 - (1 - top_k / config.num_experts) ** tokens)
        weights = self._router_weights() + experts_hit * self._expert_weights()
        traffic = tokens * (3 * d + top_k * (3 * config.expert_dim + 2 * d))
        dispatch = _GROUPED_LAUNCHES if tokens > 1 else top_k * _SINGLE_EXPERT_LAUNCHES  # experts one by one
        return self._cost(flops, weights + traffic, _ROUTER_LAUNCHES + dispatch)

    def _head(self) -> Cost:
        weights = self.config.d_model * self.config.embedding_size
        return self._cost(2 * weights, weights, _DECODER_LAUNCHES)

    def _num_adaptive(self, knobs: DecoderKnobs) -> int:
        return len(knobs.behind(self.config.fixed_prefix_layers))

    @property
    def _num_vision_blocks(self) -> int:
        """Blocks behind the last one whose output is used do not run."""
        return 1 + max(layer % self.config.vision.num_layers for layer in self.config.vit_layers)

    def _attention_weights(self) -> int:
        """Attention of one block with its three norms."""
        return self.config.d_model * (4 * self.config.d_model + 3)

    def _router_weights(self) -> int:
        """With the norm before it."""
        return self.config.d_model * (1 + self.config.num_experts)

    def _expert_weights(self) -> int:
        return 3 * self.config.d_model * self.config.expert_dim

    def _vision_weights(self) -> int:
        return self._tower_weights() + self._connector_weights()

    def _tower_weights(self) -> int:
        vision = self.config.vision
        width, inner = vision.width, vision.num_heads * vision.head_dim
        block = 4 * width * inner + 3 * inner + width + 2 * width * vision.mlp_dim + vision.mlp_dim + width + 4 * width
        return width * (1 + vision.num_positions + vision.patch_size**2 * 3 + 2) + vision.num_layers * block

    def _connector_weights(self) -> int:
        config, vision = self.config, self.config.vision
        width, inner = vision.width, vision.num_heads * vision.head_dim
        feature_dim = len(config.vit_layers) * width
        pooling = 3 * (feature_dim + 1) * inner + (inner + 1) * inner
        return 2 * feature_dim + pooling + config.projector_dim * (2 * width + config.d_model)

    def _cost(self, flops: float, elements: float, launches: int) -> Cost:
        return Cost(float(flops), float(elements) * self.element_bytes, launches)
