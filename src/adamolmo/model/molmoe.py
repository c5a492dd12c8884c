"""MolmoE with its latency knobs as arguments of the forward pass.

The decoder runs in two parts: a fixed prefix of blocks (always on, the model's own top_k) and the adaptive rest, which
takes `DecoderKnobs`. A request can therefore run the prefix, decide, and continue from where it stands:

    prompt = model.embed(input_ids, features, image_input_idx)
    prefix = model.run_prefix(prompt, attention_mask, cache)              # blocks 0 .. fixed_prefix_layers - 1
    logits = model.run_adaptive(prefix, knobs, cache)                     # the other active blocks, final norm, head
    logits = model.decode(token, position_ids, knobs, cache)              # one more token through all active blocks
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.decoder import DecoderBlock, KVCache, Positions, Rotary
from adamolmo.model.linear import Linear
from adamolmo.model.moe import is_one_token_on_gpu
from adamolmo.model.norm import RMSNorm
from adamolmo.model.vision import VisionBackbone


class TokenEmbedding(nn.Module):
    """Base vocabulary, and behind it the additional rows. Padding (-1) is looked up as token 0."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(config.embedding_size, config.d_model))
        self.new_embedding = nn.Parameter(torch.zeros(config.additional_vocab_size, config.d_model))

    def forward(self, input_ids: Tensor) -> Tensor:
        last = len(self.embedding) - 1
        base = nn.functional.embedding(input_ids.clamp(0, last), self.embedding)
        additional = nn.functional.embedding((input_ids - last - 1).clamp(min=0), self.new_embedding)
        return torch.where((input_ids > last)[..., None], additional, base)


@dataclass(frozen=True)
class PrefixState:
    """A prompt after the fixed prefix.

    Attributes:
        hidden: [batch, tokens, d_model].
        positions: where these tokens stand.
        lengths: real tokens per row, [batch].
        budget_state: the budget token after the prefix, [batch, d_model], if one was appended.
    """

    hidden: Tensor
    positions: Positions
    lengths: Tensor
    budget_state: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        return self.hidden.shape[1]


class MolmoE(nn.Module):
    """The whole model. Parameter names are those of the released checkpoint without `model.`, experts stacked."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.config = config
        self.vision_backbone = VisionBackbone(config)
        self.transformer = nn.ModuleDict(
            {
                "wte": TokenEmbedding(config),
                "blocks": nn.ModuleList(DecoderBlock(config) for _ in range(config.num_layers)),
                "ln_f": RMSNorm(config.d_model, eps=config.norm_eps),
            }
        )
        self.lm_head = Linear(config.d_model, config.embedding_size, bias=False)
        self.rotary = Rotary(config)

    @property
    def full_knobs(self) -> DecoderKnobs:
        return DecoderKnobs(self.config.top_k, tuple(range(self.config.num_layers)))

    def new_cache(self, batch: int, max_positions: int) -> KVCache:
        weight = self.lm_head.weight
        return KVCache(self.config, batch, max_positions, weight.device, weight.dtype)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixels: Tensor | None = None,
        masks: Tensor | None = None,
        image_input_idx: Tensor | None = None,
        knobs: DecoderKnobs | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits of every position, [batch, tokens, embedding_size].

        Args:
            input_ids: [batch, tokens]; -1 is padding.
            attention_mask: 1 for real tokens, [batch, tokens]; None means all are real. With a cache, padding must be
                on the right.
            pixels, masks: image crops as `VisionBackbone` takes them; None for text alone.
            image_input_idx: token that each feature is added to, [batch, crops, tokens_per_crop]; negative: none.
            knobs: None means the full model.
            cache: filled when given.
        """
        features = None if pixels is None else self.vision_backbone(pixels, masks)
        prompt = self.embed(input_ids, features, image_input_idx)
        return self.run_adaptive(self.run_prefix(prompt, attention_mask, cache), knobs or self.full_knobs, cache)

    def embed(self, input_ids: Tensor, features: Tensor | None = None, image_input_idx: Tensor | None = None) -> Tensor:
        """Token embeddings with the image features added, [batch, tokens, d_model]."""
        x = self.transformer["wte"](input_ids)
        if features is None:
            return x
        # Features without a place go to rows behind the sequence, each to its own, which are then cut off.
        batch, tokens, width = x.shape
        index = image_input_idx.flatten(1)  # [batch, features]
        behind = torch.arange(tokens, tokens + index.shape[1], device=index.device)
        index = torch.where(index < 0, behind, index)[..., None].expand(-1, -1, width)  # [batch, features, d_model]
        x = torch.cat([x, x.new_zeros(batch, len(behind), width)], dim=1)  # [batch, tokens + features, d_model]
        return x.scatter_add(1, index, features.flatten(1, 2).to(x.dtype))[:, :tokens]

    def run_prefix(
        self,
        prompt: Tensor,
        attention_mask: Tensor | None = None,
        cache: KVCache | None = None,
        budget_token: Tensor | None = None,
    ) -> PrefixState:
        """Blocks of the fixed prefix.

        Args:
            prompt: embeddings, [batch, tokens, d_model].
            budget_token: [batch, d_model]; appended as one last position. No other token can see it, so the returned
                hidden states are those of the prompt without it.
        """
        tokens = prompt.shape[1]
        if budget_token is not None:
            prompt = torch.cat([prompt, budget_token[:, None]], dim=1)  # [batch, tokens + 1, d_model]
            if attention_mask is not None:
                attention_mask = torch.cat([attention_mask, torch.ones_like(attention_mask[:, :1])], dim=1)
        positions, lengths = self._prompt_positions(prompt, attention_mask)
        hidden = self.forward_blocks(
            prompt, range(self.config.fixed_prefix_layers), self.config.top_k, positions, cache
        )
        if budget_token is None:
            return PrefixState(hidden, positions, lengths)
        mask = None if positions.mask is None else positions.mask[:, :, :-1, :-1]
        cos, sin = positions.cos[:, :, :-1], positions.sin[:, :, :-1]
        positions = replace(positions, cos=cos, sin=sin, mask=mask, num_keys=tokens)
        return PrefixState(hidden[:, :-1], positions, lengths - 1, budget_state=hidden[:, -1])

    def run_adaptive(self, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache | None = None) -> Tensor:
        """The active blocks behind the prefix, final norm and head: logits [batch, tokens, embedding_size]."""
        hidden = self.forward_blocks(
            prefix.hidden, knobs.behind(self.config.fixed_prefix_layers), knobs.top_k, prefix.positions, cache
        )
        return self.logits(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and head: [..., d_model] -> [..., embedding_size]."""
        return self.lm_head(self.transformer["ln_f"](hidden))

    def next_token_logits(self, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache | None = None) -> Tensor:
        """Logits of the token after each row's last real one, [batch, embedding_size].

        The last block's experts and the head run on that token alone: nothing reads what they make of the others.
        """
        blocks = knobs.behind(self.config.fixed_prefix_layers)
        if not blocks:
            return self.last_token_logits(prefix.hidden, prefix.lengths)
        hidden = self.forward_blocks(prefix.hidden, blocks[:-1], knobs.top_k, prefix.positions, cache)
        slots = None if cache is None else (cache.keys[blocks[-1]], cache.values[blocks[-1]])
        last = prefix.lengths - 1
        hidden = self.transformer["blocks"][blocks[-1]](hidden, knobs.top_k, prefix.positions, slots, last)
        return self.logits(hidden[:, 0])

    def last_token_logits(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Final norm and head at each row's last real token: [batch, tokens, d_model] -> [batch, embedding_size]."""
        rows = torch.arange(len(hidden), device=hidden.device)
        return self.logits(hidden[rows, lengths - 1])

    def decode(
        self, tokens: Tensor, position_ids: Tensor, knobs: DecoderKnobs, cache: KVCache, num_keys: int
    ) -> Tensor:
        """One decoded token per row through all active blocks: logits [batch, embedding_size].

        Nothing here waits for the device, and shapes depend on no tensor's values: a GPU can record it as a graph.

        Args:
            tokens: [batch]; of those that the head can say, none of the additional vocabulary.
            position_ids: the tokens' positions, which are also their cache slots, [batch].
            num_keys: cache slots to read, at least the largest position + 1.
        """
        x = self.transformer["wte"].embedding[tokens[:, None]]  # [batch, 1, d_model]
        slots = position_ids[:, None]  # [batch, 1]
        mask = None
        if not is_one_token_on_gpu(x):
            mask = (torch.arange(num_keys, device=x.device) <= slots)[:, None, None, :]  # [batch, 1, 1, num_keys]
        positions = Positions(*self.rotary(slots), mask, slots, num_keys)
        prefix_layers = range(self.config.fixed_prefix_layers)
        x = self.forward_blocks(x, prefix_layers, self.config.top_k, positions, cache)
        x = self.forward_blocks(x, knobs.behind(self.config.fixed_prefix_layers), knobs.top_k, positions, cache)
        return self.logits(x)[:, 0]

    def forward_blocks(
        self, x: Tensor, blocks: Iterable[int], top_k: int, positions: Positions, cache: KVCache | None = None
    ) -> Tensor:
        """These blocks, in this order, on hidden states [batch, tokens, d_model]."""
        for block in blocks:
            slots = None if cache is None else (cache.keys[block], cache.values[block])
            x = self.transformer["blocks"][block](x, top_k, positions, slots)
        return x

    def _prompt_positions(self, x: Tensor, attention_mask: Tensor | None) -> tuple[Positions, Tensor]:
        batch, tokens = x.shape[:2]
        if attention_mask is None:
            ids = torch.arange(tokens, device=x.device).expand(batch, -1)
            lengths = torch.full((batch,), tokens, device=x.device)
            return Positions(*self.rotary(ids), mask=None, slots=None, num_keys=tokens), lengths
        seen = attention_mask.cumsum(dim=1)  # [batch, tokens]
        ids = (seen - 1).clamp(min=0)
        mask = (
            attention_mask.bool()[:, None, None, :]
            & torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
        )  # [batch, 1, tokens, tokens]
        # A padding query would see no key at all and give NaN: let it see itself; nobody reads its output.
        mask = mask | torch.eye(tokens, dtype=torch.bool, device=x.device)
        return Positions(*self.rotary(ids), mask=mask, slots=None, num_keys=tokens), seen[:, -1]
