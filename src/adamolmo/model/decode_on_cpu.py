"""One decoded token on a CPU, in as few operators as PyTorch has for it.

A token at batch 1 costs the reading of its weights once; everything else is overhead. Run by the modules, a token takes
thousands of operator calls, which are a sixth of the time where weights are large and most of it where they are small.
Here they are few: no mask, no scatter, a table of rotary factors, and norms by the length of the vector, whose scale
the next product applies.

The arithmetic is that of `decoder` and `moe`, in float32; sums run in another order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decoder import DecoderBlock, KVCache
from adamolmo.model.linear import lay_out_for_cpu
from adamolmo.model.moe import expert_rows, one_token_mixture
from adamolmo.model.molmoe import MolmoE


@dataclass(frozen=True, slots=True)
class _Block:
    """A block's weights, as views on the model's.

    Attributes:
        attn_norm, ff_norm: [d_model].
        qkv: [d_model, 3 * d_model].
        qk_norm: of queries and keys, [2, num_heads, 2, head_dim / 2].
        out: [d_model, d_model].
        router: [d_model, num_experts].
        gate_up: [num_experts, d_model, 2 * expert_dim].
        down: [num_experts, expert_dim, d_model].
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
            qk_norm=torch.stack([attn.q_norm.weight, attn.k_norm.weight]).view(2, -1, 2, attn.head_dim // 2),
            out=attn.attn_out.weight.T,
            ff_norm=mlp.ff_norm.weight,
            router=mlp.gate.weight.T,
            gate_up=mlp.experts.gate_up,
            down=mlp.experts.down,
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
        self._cos, self._sin = (table.view(-1, 2, config.head_dim // 2) for table in (cos, sin))
        self._zero = torch.zeros(())  # stands where an operator wants a sum to start from
        all_experts = torch.arange(config.num_experts)
        self._gate_up_rows, self._down_rows = (
            expert_rows(all_experts, height) for height in (config.d_model, config.expert_dim)
        )

    def __call__(self, token: int, position: int, knobs: DecoderKnobs, cache: KVCache) -> Tensor:
        """Logits of the next token, [embedding_size]; as `MolmoE.decode`, for one row that attends to all before it."""
        prefix_layers = self._config.fixed_prefix_layers
        x = self._embedding[token : token + 1].clone()  # [1, d_model]
        cos, sin = self._cos[position], self._sin[position]  # each [2, head_dim / 2]
        for index in (*range(prefix_layers), *knobs.behind(prefix_layers)):
            block = self._blocks[index]
            x = self._attend(x, block, cos, sin, cache.keys[index][0], cache.values[index][0], position)
            x = self._mix(x, block, self._config.top_k if index < prefix_layers else knobs.top_k)
        return self._normalised_product(x, self._final_norm, self._head)[0]

    def _attend(
        self, x: Tensor, block: _Block, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, position: int
    ) -> Tensor:
        """[1, d_model] -> the same; keys and values: [num_heads, slots, head_dim]."""
        num_heads, _, head_dim = keys.shape
        qkv = self._normalised_product(x, block.attn_norm, block.qkv).view(3, num_heads, 2, -1)  # heads in halves
        qk = qkv[:2]  # [2, num_heads, 2, head_dim / 2]
        q_scale, k_scale = (self._scale(norm) for norm in torch.linalg.vector_norm(qk, dim=(1, 2, 3)).tolist())
        weighted = qk * block.qk_norm
        rotated = (weighted * cos).addcmul_(weighted.flip(2), sin).view(2, num_heads, 1, head_dim)
        torch.mul(rotated[1], k_scale, out=keys.narrow(1, position, 1))
        values.narrow(1, position, 1).copy_(qkv[2].view(num_heads, 1, head_dim))
        keys, values = keys.narrow(1, 0, position + 1), values.narrow(1, 0, position + 1)
        scale = q_scale * head_dim**-0.5
        scores = torch.baddbmm(self._zero, rotated[0], keys.mT, beta=0, alpha=scale)  # [num_heads, 1, keys]
        return torch.addmm(x, torch.bmm(scores.softmax(dim=-1), values).view(1, -1), block.out)

    def _mix(self, x: Tensor, block: _Block, top_k: int) -> Tensor:
        """Router and experts: [1, d_model] -> the same, in the same memory."""
        h = (x * block.ff_norm).mul_(self._scale_of(x))
        weights = (h @ block.router).softmax(dim=-1)  # [1, num_experts]
        gate_up_rows, down_rows = self._gate_up_rows, self._down_rows
        if top_k < self._config.num_experts:
            weights, chosen = weights.topk(top_k)  # each [1, top_k]
            gate_up_rows, down_rows = (rows.index_select(0, chosen[0]) for rows in (gate_up_rows, down_rows))
        return x.add_(one_token_mixture(h, weights, block.gate_up, block.down, gate_up_rows, down_rows))

    def _normalised_product(self, x: Tensor, norm: Tensor, matrix: Tensor) -> Tensor:
        """RMS norm of [1, d_model] times [d_model, out]: [1, out]."""
        return torch.addmm(self._zero, x * norm, matrix, beta=0, alpha=self._scale_of(x))

    def _scale_of(self, x: Tensor) -> float:
        return self._scale(torch.linalg.vector_norm(x).item())

    def _scale(self, norm: float) -> float:
        """What an RMS norm multiplies a vector of this length with."""
        return (norm * norm / self._config.d_model + self._config.norm_eps) ** -0.5
