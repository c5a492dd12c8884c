"""How a latency budget enters a network: sinusoids, and the token that carries them through the fixed prefix.

After the latency token of AdaLLaVA (arXiv 2503.10905): a sinusoidal code of 256 values, then a 2-layer MLP.
"""

import math

import torch
from torch import Tensor, nn

CODE_SIZE = 256
# Periods in units of the relative budget: the slowest tell the ends of the range apart, the fastest differences of 2 %.
LONGEST_PERIOD, SHORTEST_PERIOD = 8.0, 0.08


class BudgetCode(nn.Module):
    """Relative budgets (budget / `scale_ms` of the policy) [...] -> sinusoids [..., 256]. Nothing is learned."""

    def __init__(self):
        super().__init__()
        steps = torch.linspace(0, 1, CODE_SIZE // 2)
        periods = LONGEST_PERIOD * (SHORTEST_PERIOD / LONGEST_PERIOD) ** steps
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)

    def forward(self, relative_budget: Tensor) -> Tensor:
        angles = relative_budget[..., None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class BudgetEncoder(nn.Module):
    """Budget code [..., 256] -> the extra token's embedding [..., d_model]."""

    def __init__(self, d_model: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(CODE_SIZE, d_model), nn.LayerNorm(d_model), nn.GELU(), nn.Linear(d_model, d_model)
        )

    def forward(self, code: Tensor) -> Tensor:
        return self.layers(code)
