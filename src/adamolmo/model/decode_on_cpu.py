"""One decoded token on a CPU, in as few operators as PyTorch has for it.

A token at batch 1 costs the reading of its weights once; everything else is overhead. Run by the modules, a token takes
some 7000 operator calls, which are a sixth of the time where weights are large and most of it where they are small.
Here they are about 600: no mask, no scatter, a table of rotary factors, norms by a dot product, and the chosen experts
in two calls. `embedding_bag` is such a call: the weighted sum of chosen rows of a table, where the table is the stack of
all experts' matrices, the rows are those of the chosen ones, and the weights are what is multiplied with them.

The arithmetic is that of `decoder` and `moe`, in float32; sums run in another order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decoder import DecoderBlock, KVCache
from adamolmo.model.linear import lay_out_for_cpu
from adamolmo.model.molmoe import MolmoE


@dataclass(frozen=True, slots=True)
class _Block:
    """A block's weights, as views on the model's.

    Attributes:
        attn_norm, ff_norm: [d_model].
        qkv: [d_model, 3 * d_model].
        qk_norm: of queries and keys, [2, num_heads, head_dim].
        out: [d_model, d_model].
        router: [d_model, num_experts].
        gate_up: all experts' rows below each other, [num_experts * d_model, 2 * expert_dim].
        down: [num_experts * expert_dim, d_model].
    """

    attn_norm: Tensor
    qkv: Tensor
    qk_norm: Tensor
    out: Tensor
    ff_norm: Tensor
    router: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, block: DecoderBlock) -> "_Block":
        attn, mlp = block.attn, block.mlp
        return cls(
            attn_norm=attn.attn_norm.weight,
            qkv=attn.att_proj.weight.T,
            qk_norm=torch.stack([attn.q_norm.weight, attn.k_norm.weight]).unflatten(1, (-1, attn.head_dim)),
            out=attn.attn_out.weight.T,
            ff_norm=mlp.ff_norm.weight,
            router=mlp.gate.weight.T,
            gate_up=mlp.experts.gate_up.flatten(0, 1),
            down=mlp.experts.down.flatten(0, 1),
        )


class TokenPass:
    """One token at a time through a model on a CPU, in float32, without gradients.

    The model's weights may change in place afterwards, except for the norms of queries and keys.
    """

    def __init__(self, model: MolmoE):
        lay_out_for_cpu(model)
        config = self._config = model.config
        self._blocks = [_Block.of(block) for block in model.transformer["blocks"]]
        self._embedding = model.transformer["wte"].embedding
        self._final_norm, self._head = model.transformer["ln_f"].weight, model.lm_head.weight.T
        cos, sin = model.rotary(torch.arange(config.max_positions)[None])  # each [1, 1, positions, head_dim]
        self._cos, self._sin = cos[0, 0], sin[0, 0]
        self._gate_up_rows = torch.arange(config.num_experts * config.d_model).view(config.num_experts, -1)
        self._down_rows = torch.arange(config.num_experts * config.expert_dim).view(config.num_experts, -1)
        self._gate_up_starts = torch.arange(0, config.num_experts * config.d_model, config.d_model)

    def __call__(self, token: int, position: int, knobs: DecoderKnobs, cache: KVCache) -> Tensor:
        """Logits of the next token, [embedding_size]; as `MolmoE.decode`, for one row that attends to all before it."""
        prefix_layers = self._config.fixed_prefix_layers
        x = self._embedding[token : token + 1].clone()  # [1, d_model]
        cos, sin = self._cos[position], self._sin[position]  # each [head_dim]
        for index in (*range(prefix_layers), *(block for block in knobs.blocks if block >= prefix_layers)):
            block = self._blocks[index]
            x = self._attend(x, block, cos, sin, cache.keys[index][0], cache.values[index][0], position)
            x = self._mix(x, block, self._config.top_k if index < prefix_layers else knobs.top_k)
        return (self._normalised(x, self._final_norm) @ self._head)[0]

    def _attend(
        self, x: Tensor, block: _Block, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, position: int
    ) -> Tensor:
        """[1, d_model] -> the same; keys and values: [num_heads, slots, head_dim]."""
        num_heads, _, head_dim = keys.shape
        qkv = (self._normalised(x, block.attn_norm) @ block.qkv).view(3, num_heads, head_dim)
        q_scale, k_scale = (self._scale(norm) for norm in torch.linalg.vector_norm(qkv[:2], dim=(1, 2)).tolist())
        weighted = qkv[:2] * block.qk_norm  # [2, num_heads, head_dim]
        halves_swapped = weighted.view(2, num_heads, 2, -1).flip(2).view(2, num_heads, head_dim)
        q, k = (weighted * cos).addcmul_(halves_swapped, sin).unbind()  # each [num_heads, head_dim], not scaled yet
        torch.mul(k, k_scale, out=keys[:, position])
        values[:, position] = qkv[2]
        keys, values = keys[:, : position + 1], values[:, : position + 1]
        scores = torch.bmm(q[:, None], keys.mT)  # [num_heads, 1, keys]
        weights = scores.mul_(q_scale * head_dim**-0.5).softmax(dim=-1)
        return torch.addmm(x, torch.bmm(weights, values).view(1, -1), block.out)

    def _mix(self, x: Tensor, block: _Block, top_k: int) -> Tensor:
        """Router and experts: [1, d_model] -> the same, in the same memory."""
        h = self._normalised(x, block.ff_norm)
        weights = (h @ block.router).softmax(dim=-1)  # [1, num_experts]
        gate_up_rows, down_rows = self._gate_up_rows, self._down_rows
        if top_k < self._config.num_experts:
            weights, chosen = weights.topk(top_k)  # each [1, top_k]
            gate_up_rows, down_rows = (rows.index_select(0, chosen[0]) for rows in (gate_up_rows, down_rows))
        starts = self._gate_up_starts[:top_k]
        gate, up = _weighted_sums(block.gate_up, gate_up_rows, starts, h.expand(top_k, -1)).chunk(2, dim=1)
        hidden = torch.nn.functional.silu(gate).mul_(up).mul_(weights.T)  # [top_k, expert_dim]
        return x.add_(_weighted_sums(block.down, down_rows, starts[:1], hidden))

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm of [1, d_model]."""
        return (x * weight).mul_(self._scale(torch.linalg.vector_norm(x).item()))

    def _scale(self, norm: float) -> float:
        return (norm * norm / self._config.d_model + self._config.norm_eps) ** -0.5


def _weighted_sums(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums of rows of `table`, [groups, width]: a group is what lies between two starts.

    Args:
        table: [rows, width].
        rows, weights: which ones, and times what; of any shape, with as many elements.
        starts: index of each group's first one, [groups].
    """
    return torch.embedding_bag(table, rows.reshape(-1), starts, False, 0, False, weights.reshape(-1))[0]
