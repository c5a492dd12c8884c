"""The GPU's kernels for one token, interpreted on the CPU, against the plain modules. tests/gpu runs them compiled."""

import os
from types import SimpleNamespace

import pytest
import torch

from adamolmo.model.decoder import Attention, KVCache, Positions, Rotary
from adamolmo.model.moe import Experts

if torch.cuda.is_available():
    pytest.skip("kernels interpreted here could not be compiled in tests/gpu", allow_module_level=True)
os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds only")

from adamolmo.model import decode_kernels  # noqa: E402

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("expert_dim", [48, 64])  # a whole and a broken number of blocks
def test_experts(dtype, expert_dim):
    torch.manual_seed(0)
    experts = Experts(8, 80, expert_dim).requires_grad_(False)
    experts.gate_up.normal_(std=0.1)
    experts.down.normal_(std=0.1)
    experts = experts.to(dtype)
    x = torch.randn(1, 80, dtype=dtype)
    weights, chosen = torch.rand(1, 8).softmax(dim=-1).topk(3)
    found = decode_kernels.expert_mixture(x, weights, chosen, experts.gate_up, experts.down)
    expected = experts(x, weights, chosen)
    assert expected.abs().max() > 0.02
    torch.testing.assert_close(found, expected, rtol=TOLERANCE[dtype], atol=0.1 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("position", [0, 5, 63, 64, 199])  # a chunk is 64 keys
def test_attention(dtype, position):
    torch.manual_seed(0)
    config = SimpleNamespace(d_model=96, num_heads=6, head_dim=16, norm_eps=1e-5, rope_theta=1e4, num_layers=1)
    attention = Attention(config).requires_grad_(False)
    for parameter in attention.parameters():
        parameter.normal_(std=0.3, mean=float(parameter.ndim == 1))
    attention = attention.to(dtype)
    plain, fused = (KVCache(config, 1, 200, torch.device("cpu"), dtype) for _ in range(2))
    for ours, theirs in zip([*plain.keys, *plain.values], [*fused.keys, *fused.values], strict=True):
        theirs.copy_(ours.normal_())
    x, slot = torch.randn(1, 1, 96, dtype=dtype), torch.tensor([[position]])
    mask = (torch.arange(200) <= slot)[:, None, None, :]
    cos_sin = Rotary(config)(slot)
    expected = attention(x, Positions(*cos_sin, mask, slot, 200), (plain.keys[0], plain.values[0]))
    found = attention(x, Positions(*cos_sin, None, slot, 200), (fused.keys[0], fused.values[0]))
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(found, expected, **tolerance)
    torch.testing.assert_close(fused.keys[0], plain.keys[0], **tolerance)
    assert torch.equal(fused.values[0], plain.values[0])
