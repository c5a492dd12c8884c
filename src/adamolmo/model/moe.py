"""Mixture-of-experts feed-forward: only the chosen experts are computed.

Routing as in OLMoE (arXiv 2409.02060): softmax over all experts in float32, the top_k weights are NOT renormalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.model.config import MolmoEConfig


class Experts(nn.Module):
    """All experts of one block in two stacked tensors, laid out so that tokens are multiplied from the left."""

    def __init__(self, num_experts: int, d_model: int, expert_dim: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(num_experts, d_model, 2 * expert_dim))
        self.down = nn.Parameter(torch.empty(num_experts, expert_dim, d_model))

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Sum of the chosen experts' outputs, weighted.

        Args:
            x: tokens, [tokens, d_model].
            weights: router probabilities of the chosen experts, [tokens, top_k].
            chosen: indices of the experts, [tokens, top_k].
        """
        if len(x) == 1 and x.device.type == "cpu":
            return self._one_token(x, weights[0], chosen[0])
        return self._grouped(x, weights, chosen)

    def _one_token(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Views of the chosen experts, one by one: nothing is gathered, so time grows with top_k."""
        outputs = [_swiglu(x @ self.gate_up[expert]) @ self.down[expert] for expert in chosen.tolist()]
        return weights.to(x.dtype) @ torch.cat(outputs)

    def _grouped(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Tokens sorted by expert, one grouped matrix product per projection, results returned to their tokens."""
        top_k = chosen.shape[1]
        order = chosen.flatten().argsort(stable=True)
        tokens = order // top_k
        group_ends = torch.bincount(chosen.flatten(), minlength=len(self.down)).cumsum(0).to(torch.int32)
        hidden = _swiglu(F.grouped_mm(x[tokens], self.gate_up, offs=group_ends))
        outputs = F.grouped_mm(hidden, self.down, offs=group_ends)
        outputs = outputs * weights.flatten()[order].to(x.dtype)[:, None]
        return torch.zeros_like(x).index_add(0, tokens, outputs)


def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class MixtureOfExperts(nn.Module):
    """Router and experts of one block: normalised hidden states [batch, positions, d_model] -> the same shape."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.ff_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.gate = nn.Linear(config.d_model, config.num_experts, bias=False)
        self.experts = Experts(config.num_experts, config.d_model, config.expert_dim)

    def forward(self, x: Tensor, top_k: int) -> Tensor:
        h = self.ff_norm(x).flatten(0, 1)
        probabilities = self.gate(h).float().softmax(dim=-1)
        weights, chosen = probabilities.topk(top_k, dim=-1)
        return self.experts(h, weights, chosen).view_as(x)
