"""Linear layers as a CPU runs them fastest: how weights lie in memory, and which library multiplies.

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
_CPUINFO = Path("/proc/cpuinfo")


class Linear(nn.Linear):
    """`nn.Linear`, whose weight of shape [out, in] may lie in memory as [in, out]; see `lay_out_for_cpu`."""

    def forward(self, x: Tensor) -> Tensor:
        if _belongs_to_onednn(x, self.out_features):
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)

    def scaled(self, x: Tensor, before: float = 1.0, after: float = 1.0) -> Tensor:
        """`after * self(before * x)`, [..., in] -> [..., out]; the product scales on its way, without another pass."""
        if _belongs_to_onednn(x, self.out_features):
            return self(x * before) * after
        rows = x.flatten(0, -2)
        out = torch.addmm(self.bias, rows, self.weight.T, beta=after, alpha=before * after)
        return out.view(*x.shape[:-1], -1)


def grouped_product(x: Tensor, matrices: Tensor, group_ends: Tensor) -> Tensor:
    """Groups of rows, each times its own matrix: [rows, in] and [groups, in, out] -> [rows, out].

    Args:
        group_ends: number of rows in this group and all before it, [groups], int32.
    """
    num_groups, _, out_features = matrices.shape
    if not _belongs_to_onednn(x, out_features // num_groups):  # by the size of an average group
        return F.grouped_mm(x, matrices, offs=group_ends)
    sizes = group_ends.diff(prepend=group_ends.new_zeros(1)).tolist()
    products = [
        torch.ops.mkldnn._linear_pointwise(rows, matrix.T, None, "none", [], "")
        for rows, matrix in zip(x.split(sizes), matrices, strict=True)
        if len(rows)
    ]
    return torch.cat(products)


def lay_out_for_cpu(model: nn.Module) -> None:
    """Turns the memory of all linear layers to [in, out], side by side in one allocation: shapes and values stay.

    One token, and few, are multiplied faster so: the result is a sum of rows that are read one after the other, and
    large allocations lie in huge pages (`inference.device`), for which a single matrix is often too small.
    """
    weights = [module.weight for module in model.modules() if isinstance(module, Linear)]
    sizes = [weight.numel() for weight in weights]
    places = torch.empty(sum(sizes), dtype=weights[0].dtype).split(sizes)
    for weight, place in zip(weights, places, strict=True):
        weight.data = place.view(weight.T.shape).copy_(weight.T).T


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
    return _CPUINFO.exists() and "AuthenticAMD" in _CPUINFO.read_text()
