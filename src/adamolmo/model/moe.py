"""Mixture-of-experts feed-forward: only the chosen experts are computed.

Routing as in OLMoE (arXiv 2409.02060): softmax over all experts in float32, the top_k weights are NOT renormalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.model.config import MolmoEConfig
from adamolmo.model.linear import Linear, grouped_product
from adamolmo.model.norm import RMSNorm


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
            gate_up_rows, down_rows = (expert_rows(chosen[0], stack.shape[1]) for stack in (self.gate_up, self.down))
            return one_token_mixture(x, weights, self.gate_up, self.down, gate_up_rows, down_rows)
        return self._grouped(x, weights, chosen)

    def all_together(self, x: Tensor, weights: Tensor) -> Tensor:
        """As `forward` where every token chooses all experts: weights [tokens, num_experts]."""
        hidden = _swiglu(torch.matmul(x, self.gate_up)).mul_(weights.T.to(x.dtype)[..., None])
        return torch.bmm(hidden, self.down).sum(dim=0)  # from [num_experts, tokens, expert_dim]

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
        hidden = _swiglu(grouped_product(x[order // top_k], self.gate_up, group_ends))  # [tokens * top_k, expert_dim]
        hidden = hidden * weights.flatten()[order].to(x.dtype)[:, None]
        by_expert = grouped_product(hidden, self.down, group_ends)  # [tokens * top_k, d_model]
        by_token = torch.empty_like(by_expert).index_copy_(0, order, by_expert)
        return by_token.view(num_tokens, top_k, -1).sum(dim=1)


def is_one_token_on_gpu(x: Tensor) -> bool:
    """Whether x, [..., d_model], is what the kernels in `decode_kernels` are for: they have no gradient."""
    return x.is_cuda and x.numel() == x.shape[-1] and not torch.is_grad_enabled()


def one_token_mixture(
    x: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor, gate_up_rows: Tensor, down_rows: Tensor
) -> Tensor:
    """Weighted sum of the chosen experts' outputs for one token on a CPU, [1, d_model], in two passes over weights.

    A product with one vector is a weighted sum of the matrix' rows. So the experts' matrices below each other are the
    table of an `embedding_bag`, which reads the rows of the chosen ones, and copies nothing.

    Args:
        x: [1, d_model].
        weights: [1, top_k].
        gate_up, down: all experts, as in `Experts`.
        gate_up_rows, down_rows: `expert_rows` of the chosen ones.
    """
    starts = torch.arange(0, gate_up_rows.numel(), x.shape[1])  # [top_k]
    gate_up = _weighted_rows(gate_up, gate_up_rows, x.expand(len(starts), -1), starts)  # [top_k, 2 * expert_dim]
    hidden = _swiglu(gate_up).mul_(weights.T.to(x.dtype))  # [top_k, expert_dim]
    return _weighted_rows(down, down_rows, hidden, starts[:1])


def expert_rows(experts: Tensor, height: int) -> Tensor:
    """Indices of the experts' rows where all matrices of `height` lie below each other, [len(experts), height]."""
    return experts[:, None] * height + torch.arange(height)


def _weighted_rows(stack: Tensor, rows: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    """Sums of rows of [experts, height, width] with as many weights, one from each start on: [len(starts), width]."""
    return torch.embedding_bag(stack.flatten(0, 1), rows.flatten(), starts, False, 0, False, weights.flatten())[0]


def _swiglu(gate_up: Tensor) -> Tensor:
    """[..., 2 * expert_dim] -> [..., expert_dim]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


class MixtureOfExperts(nn.Module):
    """Router and experts of one block: normalised hidden states [batch, positions, d_model] -> the same shape."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.ff_norm = RMSNorm(config.d_model, eps=config.norm_eps)
        self.gate = Linear(config.d_model, config.num_experts, bias=False)
        self.experts = Experts(config.num_experts, config.d_model, config.expert_dim)

    def forward(self, x: Tensor, top_k: int) -> Tensor:
        h = self.ff_norm(x).flatten(0, 1)  # [tokens, d_model]
        probabilities = self.gate(h).softmax(dim=-1, dtype=torch.float32)  # [tokens, num_experts]
        if top_k == probabilities.shape[1] and not is_one_token_on_gpu(h):
            return self.experts.all_together(h, probabilities).view_as(x)
        weights, chosen = probabilities.topk(top_k, dim=-1)  # [tokens, top_k]
        return self.experts(h, weights, chosen).view_as(x)
