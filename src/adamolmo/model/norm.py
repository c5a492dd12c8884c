"""The RMS norm in few operators."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over one dimension (arXiv 1910.07467).

    PyTorch has it as one kernel on GPUs; on a CPU it takes eight operators, and here five.
    """

    def __init__(self, size: int, eps: float):
        super().__init__(size, eps=eps)
        self._eps = torch.tensor(eps, device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
            return super().forward(x)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.addcmul(self._eps, length, length, value=1 / x.shape[-1]).rsqrt_()  # [..., 1]
        return (x * scale).mul_(self.weight)
