"""Linear layers as a CPU reads them fastest: weights column by column, large products by the library that is fast there.

PyTorch multiplies float32 matrices with Intel's MKL. On AMD's processors MKL takes a path of half the width, whatever
the processor could do, and oneDNN, which comes with PyTorch as well, does not: there, large products go to oneDNN. It
sums in another order, and rounds nothing to a smaller type (that would need a setting of PyTorch's, which stays alone).
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Multiplications from which oneDNN beats MKL's path of half the width; below, its set-up costs more than it saves.
_LARGE = 5_000_000


class Linear(nn.Linear):
    """`nn.Linear`, whose weight of shape [out, in] may lie in memory as [in, out]; see `lay_out_for_cpu`."""

    def forward(self, x: Tensor) -> Tensor:
        if _belongs_to_onednn(x, self.out_features):
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


def product(x: Tensor, matrix: Tensor) -> Tensor:
    """[rows, in] @ [in, out] -> [rows, out]."""
    if _belongs_to_onednn(x, matrix.shape[1]):
        return torch.ops.mkldnn._linear_pointwise(x, matrix.T, None, "none", [], "")
    return x @ matrix


def lay_out_for_cpu(model: nn.Module) -> None:
    """Turns the memory of all linear layers to [in, out], in place: shapes and values stay.

    One token, and few, are multiplied faster so: the result is a sum of rows that are read one after the other.
    """
    for module in model.modules():
        if isinstance(module, Linear):
            module.weight.data = module.weight.data.T.contiguous().T


def _belongs_to_onednn(x: Tensor, out_features: int) -> bool:
    """Only without gradients, which the operator does not have."""
    return (
        x.numel() * out_features >= _LARGE
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and mkl_is_slow()
    )


@functools.cache
def mkl_is_slow() -> bool:
    """Whether float32 products on this CPU are by MKL, on a processor of AMD's."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "AuthenticAMD" in cpuinfo.read_text()
