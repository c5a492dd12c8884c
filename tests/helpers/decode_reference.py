"""Checks of the decode kernels against float64, with a bound on the rounding errors that they may make on the way.

The bounds follow the standard model of floating-point arithmetic (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., sections 2.2 and 3.1): every result is exact up to a factor 1 + delta, |delta| <= u, and a sum of n
terms in any order is off by at most n * u * sum |terms|. `roundoff` is the u of the tensors' dtype: 2**-8 for bfloat16
rounded to nearest, 2**-7 where it is truncated, 2**-24 for float32. Sums and functions are in float32 whatever the
dtype. Products of errors are covered by one factor for all. Nothing is fitted to what the kernels do.
"""

import math
from types import SimpleNamespace

import torch
from torch import Tensor

from adamolmo.model.decoder import Rotary

_FLOAT32 = 2.0**-24
_FUNCTION = 8 * _FLOAT32  # exp, sigmoid, rsqrt: some units in the last place
_PRODUCTS_OF_ERRORS = 1.1


def check_experts(
    dtype, roundoff: float, d_model: int, expert_dim: int, num_experts: int, top_k: int, device: str = "cpu"
) -> None:
    """Random experts and one random token."""
    from adamolmo.model import decode_kernels  # needs Triton, which asks for TRITON_INTERPRET when it is imported

    torch.manual_seed(0)
    gate_up = (torch.randn(num_experts, d_model, 2 * expert_dim, device=device) * d_model**-0.5).to(dtype)
    down = (torch.randn(num_experts, expert_dim, d_model, device=device) * expert_dim**-0.5).to(dtype)
    x = torch.randn(1, d_model, device=device).to(dtype)
    weights, chosen = torch.rand(1, num_experts, device=device).softmax(dim=-1).topk(top_k)
    expected, bound = expert_mixture(x, weights, chosen, gate_up, down, roundoff)
    _must_say_something(expected, bound)
    _assert_within(decode_kernels.expert_mixture(x, weights, chosen, gate_up, down), expected, bound)


def check_attention(
    dtype, roundoff: float, position: int, num_heads: int, head_dim: int, num_slots: int, device: str = "cpu"
) -> None:
    """One random token at `position`, before it and behind it a random cache, which must stay as it is."""
    from adamolmo.model import decode_kernels  # as above

    torch.manual_seed(0)
    d_model = num_heads * head_dim
    qkv = torch.randn(1, 1, 3 * d_model, device=device).to(dtype)
    norms = [(1 + 0.3 * torch.randn(d_model, device=device)).to(dtype) for _ in range(2)]
    keys, values = (torch.randn(1, num_heads, num_slots, head_dim, device=device).to(dtype) for _ in range(2))
    slot = torch.tensor([[position]], device=device)
    cos, sin = Rotary(SimpleNamespace(head_dim=head_dim, rope_theta=1e4)).to(device)(slot)
    arguments = qkv, *norms, 1e-5, cos, sin
    expected = attention(*arguments, keys, values, position, roundoff)
    found_keys, found_values = keys.clone(), values.clone()
    attended = decode_kernels.attend(*arguments, found_keys, found_values, slot)
    _must_say_something(*expected["attended"])
    _assert_within(attended, *expected["attended"])
    _assert_within(found_keys[0, :, position], *expected["key"])
    _assert_within(found_values[0, :, position], *expected["value"])
    others = torch.arange(num_slots, device=device) != position
    assert torch.equal(found_keys[:, :, others], keys[:, :, others])
    assert torch.equal(found_values[:, :, others], values[:, :, others])


def _must_say_something(expected: Tensor, bound: Tensor) -> None:
    assert bound.max() < 0.6 * expected.abs().max()


def _assert_within(found: Tensor, expected: Tensor, bound: Tensor) -> None:
    error = (found.double().view_as(expected) - expected).abs()
    worst = (error - bound).argmax()
    assert (error <= bound).all(), f"off by {error.flatten()[worst]:.3g}, at most {bound.flatten()[worst]:.3g} expected"


def expert_mixture(
    x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor, roundoff: float
) -> tuple[Tensor, Tensor]:
    """The arguments of the kernel -> what it should return and the largest error, each [1, d_model], float64."""
    x, weights = x.double(), weights.double()[0, :, None]  # [top_k, 1]
    gate_up, down = gate_up[chosen[0]].double(), down[chosen[0]].double()
    (d_model, expert_dim), top_k = (down.shape[2], down.shape[1]), len(down)
    gate, up = (x @ gate_up).squeeze(1).chunk(2, dim=-1)  # [top_k, expert_dim]
    gate_error, up_error = (d_model * _FLOAT32 * (x.abs() @ gate_up.abs())).squeeze(1).chunk(2, dim=-1)
    hidden = torch.nn.functional.silu(gate) * up
    # The slope of silu is at most 1.1.
    hidden_error = 1.1 * gate_error * up.abs() + torch.nn.functional.silu(gate).abs() * up_error
    hidden_error = hidden_error + (roundoff + _FUNCTION) * hidden.abs()

    outputs = weights * (hidden[:, None] @ down).squeeze(1)  # [top_k, d_model]
    in_sum = hidden_error + expert_dim * _FLOAT32 * hidden.abs()
    errors = weights * (in_sum[:, None] @ down.abs()).squeeze(1) + roundoff * outputs.abs()
    total = outputs.sum(dim=0, keepdim=True)
    errors = errors.sum(dim=0) + top_k * _FLOAT32 * outputs.abs().sum(dim=0) + roundoff * total.abs()
    return total, _PRODUCTS_OF_ERRORS * errors


def attention(
    qkv: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    eps: float,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    slot: int,
    roundoff: float,
) -> dict[str, tuple[Tensor, Tensor]]:
    """The arguments of the kernel, whose cache is left alone -> what it should return and write, in float64.

    Returns `attended` [heads, head_dim], and `key` and `value` of the slot, [heads, head_dim], each with its largest
    error.
    """
    num_heads, _, head_dim = keys.shape[1:]
    rotary = cos.double().flatten(), sin.double().flatten()
    query, key, value = qkv.double().view(3, num_heads, head_dim)
    query, query_error = _normalised_and_rotated(query, q_norm.double(), eps, *rotary, roundoff)
    key, key_error = _normalised_and_rotated(key, k_norm.double(), eps, *rotary, roundoff)
    keys = torch.cat([keys[0, :, :slot].double(), key[:, None]], dim=1)  # [heads, slot + 1, head_dim]
    values = torch.cat([values[0, :, :slot].double(), value[:, None]], dim=1)
    key_errors = torch.zeros_like(keys)
    key_errors[:, -1] = key_error

    scores = (keys @ query[:, :, None]).squeeze(-1) / math.sqrt(head_dim)  # [heads, slot + 1]
    score_errors = keys.abs() @ (query_error + head_dim * _FLOAT32 * query.abs())[:, :, None]
    score_errors = (score_errors + key_errors @ query.abs()[:, :, None]).squeeze(-1) / math.sqrt(head_dim)
    shares = scores.softmax(dim=-1)
    attended = (shares[:, None] @ values).squeeze(1)  # [heads, head_dim]
    # With scores s + e the result moves by sum(shares * (exp(e) - 1) * (values - result)) / sum(shares * exp(e)), since
    # sum(shares * (values - result)) is zero; the divisor is at least exp(-max |e|).
    weights = shares * score_errors.expm1() * score_errors.amax(dim=-1, keepdim=True).exp()
    moved = (weights[:, None] @ (values - attended[:, None]).abs()).squeeze(1)
    summed = (2 * (slot + 1) * _FLOAT32 + 4 * _FUNCTION) * (shares[:, None] @ values.abs()).squeeze(1)
    errors = moved + summed + roundoff * attended.abs()
    exact = torch.zeros_like(value)
    return {
        "attended": (attended, _PRODUCTS_OF_ERRORS * errors),
        "key": (key, _PRODUCTS_OF_ERRORS * key_error),
        "value": (value, exact),
    }


def _normalised_and_rotated(
    x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor, roundoff: float
) -> tuple[Tensor, Tensor]:
    """RMS norm over all of [heads, head_dim], rounded; rotation in float32, rounded again."""
    normed = x * torch.rsqrt(x.square().mean() + eps) * weight.view_as(x)
    # The error of the mean of squares, of which the inverse root halves it, and of three more operations.
    relative = x.numel() * _FLOAT32 / 2 + _FUNCTION + roundoff
    rotated = normed * cos + normed.roll(x.shape[-1] // 2, dims=-1) * sin
    terms = normed.abs() * cos.abs() + normed.abs().roll(x.shape[-1] // 2, dims=-1) * sin.abs()
    return rotated, (relative + 2 * _FLOAT32) * terms + roundoff * rotated.abs()
