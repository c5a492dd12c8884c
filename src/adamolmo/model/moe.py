"""Mixture-of-experts feed-forward: only the chosen experts are computed.

Routing as in OLMoE (arXiv 2409.02060): softmax over all experts in float32, the top_k weights are NOT renormalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.model.config import MolmoEConfig
from adamolmo.model.linear import Linear


class Experts(nn.Module):
    """All experts of one block in two stacked tensors, laid out so that tokens are multiplied from the left."""

    def __init__(self, num_experts: int, d_model: int, expert_dim: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(num_experts, d_model, 2 * expert_dim))
        self.down = nn.Parameter(torch.empty(num_experts, expert_dim, d_model))

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Sum of the chosen experts' outputs, weighted. Every expert's weights are read once at most.

        Args:
            x: tokens, [tokens, d_model].
            weights: router probabilities of the chosen experts, [tokens, top_k], float32.
            chosen: indices of the experts, [tokens, top_k].
        """
        if is_one_token_on_gpu(x):
            return self._one_token_on_gpu(x, weights, chosen)
        if len(x) == 1 and x.device.type == "cpu":
            return self._one_token(x, weights[0], chosen[0])
        return self._grouped(x, weights, chosen)

    def _one_token(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Views of the chosen experts, one by one: nothing is gathered, so time grows with top_k."""
        experts = chosen.tolist()
        gate_up = torch.cat([x @ self.gate_up[expert] for expert in experts])  # [top_k, 2 * expert_dim]
        hidden = _swiglu(gate_up) * weights.to(x.dtype)[:, None]  # [top_k, expert_dim]
        return sum(h[None] @ self.down[expert] for h, expert in zip(hidden, experts, strict=True))

    def _one_token_on_gpu(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        from adamolmo.model.decode_kernels import expert_mixture  # needs Triton

        return expert_mixture(x, weights, chosen, self.gate_up, self.down)

    def _grouped(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Tokens sorted by expert, one grouped matrix product per projection, results returned to their tokens.

        Nothing here waits for the device, and sums run in a fixed order, so that equal inputs give equal outputs.
        """
        num_tokens, top_k = chosen.shape
        experts, order = chosen.flatten().sort(stable=True)  # [tokens * top_k], ascending experts
        all_experts = torch.arange(len(self.down), device=x.device)
        group_ends = torch.searchsorted(experts, all_experts, right=True, out_int32=True)
        hidden = _swiglu(F.grouped_mm(x[order // top_k], self.gate_up, offs=group_ends))  # [tokens * top_k, expert_dim]
        hidden = hidden * weights.flatten()[order].to(x.dtype)[:, None]
        by_expert = F.grouped_mm(hidden, self.down, offs=group_ends)  # [tokens * top_k, d_model]
        by_token = torch.empty_like(by_expert).index_copy_(0, order, by_expert)
        return by_token.view(num_tokens, top_k, -1).sum(dim=1)


def is_one_token_on_gpu(x: Tensor) -> bool:
    """Whether x, [..., d_model], is what the kernels in `decode_kernels` are for: they have no gradient."""
    return x.is_cuda and x.numel() == x.shape[-1] and not torch.is_grad_enabled()


def _swiglu(gate_up: Tensor) -> Tensor:
    """[..., 2 * expert_dim] -> [..., expert_dim]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class MixtureOfExperts(nn.Module):
    """Router and experts of one block: normalised hidden states [batch, positions, d_model] -> the same shape."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.ff_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.gate = Linear(config.d_model, config.num_experts, bias=False)
        self.experts = Experts(config.num_experts, config.d_model, config.expert_dim)

    def forward(self, x: Tensor, top_k: int) -> Tensor:
        h = self.ff_norm(x).flatten(0, 1)  # [tokens, d_model]
        probabilities = self.gate(h).softmax(dim=-1, dtype=torch.float32)  # [tokens, num_experts]
        weights, chosen = probabilities.topk(top_k, dim=-1)  # [tokens, top_k]
        return self.experts(h, weights, chosen).view_as(x)
