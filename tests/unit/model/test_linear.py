import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from adamolmo.model import linear
from adamolmo.model.linear import Linear, grouped_product, lay_out_for_cpu
from adamolmo.model.norm import RMSNorm

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


class Operators(TorchDispatchMode):
    """Names of what runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))

    @property
    def of_onednn(self) -> int:
        return sum(name.startswith("mkldnn._linear_pointwise") for name in self.names)


@pytest.fixture
def amd(monkeypatch):
    monkeypatch.setattr(linear, "mkl_is_slow", lambda: True)


def made(in_features, out_features, bias=True) -> Linear:
    torch.manual_seed(0)
    return Linear(in_features, out_features, bias).requires_grad_(False)


@needs_onednn
@pytest.mark.parametrize("laid_out", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_onednn_rounds_nothing_to_a_smaller_type(amd, bias, laid_out):
    layer, x = made(256, 300, bias), torch.randn(2, 100, 256)
    if laid_out:
        lay_out_for_cpu(layer)
    with Operators() as operators, torch.inference_mode():
        found = layer(x)
    assert operators.of_onednn == 1
    exact = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    assert (found - exact).abs().max() < 1e-6 * exact.abs().max()  # with weights in bfloat16 it would be 1e-3


@needs_onednn
def test_small_products_gradients_and_other_types_stay_where_they_were(amd):
    layer, x = made(256, 300), torch.randn(100, 256)
    with Operators() as operators:
        with torch.inference_mode():
            layer(x[:20])
            made(256, 300).bfloat16()(x.bfloat16())
        layer(x.requires_grad_()).sum().backward()
    assert operators.of_onednn == 0
    torch.testing.assert_close(x.grad, layer.weight.sum(dim=0).expand_as(x))


@needs_onednn
def test_groups_by_onednn_are_those_of_grouped_mm(amd):
    torch.manual_seed(0)
    x, matrices = torch.randn(500, 256), torch.randn(4, 256, 192)
    ends = torch.tensor([200, 200, 230, 500], dtype=torch.int32)  # the second group is empty
    with Operators() as operators, torch.inference_mode():
        found = grouped_product(x, matrices, ends)
    assert operators.of_onednn == 3
    torch.testing.assert_close(found, F.grouped_mm(x, matrices, offs=ends), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this PyTorch has no MKL")
@pytest.mark.parametrize(("vendor", "slow"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_mkl_is_slow_on_processors_of_amd(vendor, slow, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nvendor_id : {vendor}\n")
    monkeypatch.setattr(linear, "_CPUINFO", cpuinfo)
    assert linear.mkl_is_slow.__wrapped__() is slow


def test_memory_is_turned_and_values_stay():
    layer, x = made(7, 5), torch.randn(3, 7)
    values, expected = layer.weight.clone(), layer(x)
    lay_out_for_cpu(layer)
    assert layer.weight.T.is_contiguous() and torch.equal(layer.weight, values)
    torch.testing.assert_close(layer(x), expected)


def test_weights_lie_side_by_side():
    model = torch.nn.Sequential(made(7, 5), torch.nn.GELU(), made(5, 3))
    x, values = torch.randn(3, 7), [model[0].weight.clone(), model[2].weight.clone()]
    expected = model(x)
    lay_out_for_cpu(model)
    first, second = model[0].weight, model[2].weight
    assert second.data_ptr() == first.data_ptr() + first.nbytes
    assert torch.equal(first, values[0]) and torch.equal(second, values[1])
    torch.testing.assert_close(model(x), expected)


def test_scaling_on_the_way():
    layer, x = made(7, 5), torch.randn(2, 3, 7)
    torch.testing.assert_close(layer.scaled(x, before=0.5, after=3.0), 3.0 * layer(0.5 * x))


@torch.inference_mode()
def test_norm_is_pytorchs():
    torch.manual_seed(0)
    ours, theirs = RMSNorm(20, eps=1e-5), torch.nn.RMSNorm(20, eps=1e-5)
    theirs.weight = ours.weight = torch.nn.Parameter(torch.randn(20))
    for scale in (1.0, 1e-3, 0.0):  # 1e-3: eps counts
        x = scale * torch.randn(2, 3, 20)
        torch.testing.assert_close(ours(x), theirs(x))
