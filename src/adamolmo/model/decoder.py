"""The decoder of MolmoE: pre-norm blocks of attention and experts, rotary positions, key-value cache."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.model.config import MolmoEConfig
from adamolmo.model.linear import Linear
from adamolmo.model.moe import MixtureOfExperts
from adamolmo.model.norm import RMSNorm


class KVCache:
    """Keys and values of every block; slot i holds position i, so an unused slot is simply one that no query may see.

    A skipped block never writes, and one stale slot (padding, the budget token) is overwritten when its position is
    decoded.
    """

    def __init__(self, config: MolmoEConfig, batch: int, max_positions: int, device: torch.device, dtype: torch.dtype):
        shape = (2, config.num_layers, batch, config.num_heads, max_positions, config.head_dim)
        # One allocation, for large ones lie in huge pages (`inference.device`).
        keys, values = torch.zeros(shape, device=device, dtype=dtype)  # each [layers, batch, heads, slots, head_dim]
        self.keys, self.values = keys.unbind(), values.unbind()


@dataclass(frozen=True)
class Positions:
    """Where the tokens of one forward pass stand.

    Attributes:
        cos, sin: rotary factors as `Rotary` makes them, [batch, 1, tokens, head_dim].
        mask: True where a query may see a key, [batch, 1, tokens, keys]; None where causality says it all: a prompt
            without padding, or `one_token_on_gpu`.
        slots: cache slots of the tokens, [batch, tokens]; None means slots 0 .. tokens - 1 of every row.
        num_keys: cache slots that exist so far; keys beyond are not read.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None
    slots: Tensor | None
    num_keys: int

    @property
    def one_token_on_gpu(self) -> bool:
        """Whether this is a decoded token that sees all slots up to its own, and `decode_kernels` attend for it."""
        return self.mask is None and self.slots is not None


class Attention(nn.Module):
    """Causal self-attention; queries and keys are normalised over the full width before the split into heads."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.head_dim = config.head_dim
        self.attn_norm = RMSNorm(config.d_model, eps=config.norm_eps)
        self.att_proj = Linear(config.d_model, 3 * config.d_model, bias=False)
        self.q_norm = RMSNorm(config.d_model, eps=config.norm_eps)
        self.k_norm = RMSNorm(config.d_model, eps=config.norm_eps)
        self.attn_out = Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Tensor, positions: Positions, cache: tuple[Tensor, Tensor] | None) -> Tensor:
        """[batch, tokens, d_model] -> the same. `cache`: keys and values, each [batch, heads, slots, head_dim]."""
        qkv = self.att_proj(self.attn_norm(x))  # [batch, tokens, 3 * d_model]
        if positions.one_token_on_gpu:
            return self.attn_out(self._attend_on_gpu(qkv, positions, cache))
        q, k, v = qkv.chunk(3, dim=-1)
        q, k = self.q_norm(q), self.k_norm(k)
        # Each [batch, heads, tokens, head_dim]; with a cache k and v are [batch, heads, num_keys, head_dim].
        q, k, v = (t.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for t in (q, k, v))
        q, k = _rotate(q, positions), _rotate(k, positions)
        if cache is not None:
            k, v = (_store(slots, new, positions) for slots, new in zip(cache, (k, v), strict=True))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=positions.mask, is_causal=positions.mask is None)
        return self.attn_out(out.transpose(1, 2).flatten(2))

    def _attend_on_gpu(self, qkv: Tensor, positions: Positions, cache: tuple[Tensor, Tensor]) -> Tensor:
        from adamolmo.model.decode_kernels import attend  # needs Triton

        norms = self.q_norm.weight, self.k_norm.weight
        return attend(qkv, *norms, self.q_norm.eps, positions.cos, positions.sin, *cache, positions.slots)


def _rotate(x: Tensor, positions: Positions) -> Tensor:
    """[batch, heads, tokens, head_dim] -> the same; in float32, whatever x is."""
    halves_swapped = x.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
    return (halves_swapped * positions.sin).add_(x * positions.cos).to(x.dtype)


def _store(slots: Tensor, new: Tensor, positions: Positions) -> Tensor:
    """Writes keys or values [batch, heads, tokens, head_dim] into their slots; returns all that the queries may read,
    [batch, heads, num_keys, head_dim]."""
    if positions.slots is None:
        slots[:, :, : new.shape[2]] = new
    else:
        index = positions.slots[:, None, :, None].expand_as(new)  # [batch, heads, tokens, head_dim]
        slots.scatter_(2, index, new)
    return slots[:, :, : positions.num_keys]


class DecoderBlock(nn.Module):
    """One transformer block."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.attn = Attention(config)
        self.mlp = MixtureOfExperts(config)

    def forward(
        self,
        x: Tensor,
        top_k: int,
        positions: Positions,
        cache: tuple[Tensor, Tensor] | None,
        last: Tensor | None = None,
    ) -> Tensor:
        """[batch, tokens, d_model] -> the same, or [batch, 1, d_model] of each row's token at `last`, [batch]."""
        x = x + self.attn(x, positions, cache)
        if last is not None:
            x = x[torch.arange(len(x), device=x.device), last][:, None]  # [batch, 1, d_model]
        return x + self.mlp(x, top_k)


class Rotary(nn.Module):
    """Rotary position factors in float32 (RoFormer, arXiv 2104.09864), first and second half paired.

    The sine of the first half carries the rotation's minus sign: x * cos + (x with its halves swapped) * sin rotates x.
    """

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        # Never on the meta device, where arange imports torch's compiler: 2 s per job.
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu") / config.head_dim
        self.register_buffer("frequencies", config.rope_theta**-exponents, persistent=False)

    def forward(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, tokens] -> cos and sin, each [batch, 1, tokens, head_dim]."""
        angles = position_ids[:, None, :, None].float() * self.frequencies  # [batch, 1, tokens, head_dim / 2]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
