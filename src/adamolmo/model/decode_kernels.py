"""GPU kernels for one decoded token, written in Triton (which comes with torch's CUDA builds).

A token at batch 1 costs the reading of its weights once, and the launching of kernels. PyTorch would copy the chosen
experts before multiplying (three times the traffic), and launch some thirty kernels per block for what six do here.
Nothing waits for the host and every grid is known before the launch, so all of it can be captured in a graph.

All arguments are contiguous; products are summed in float32, whatever the dtype.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_KEYS_PER_CHUNK = 64
_ROWS, _COLUMNS = 128, 32  # of a weight matrix, per step of a program: enough loads in flight to fill the memory bus


def expert_mixture(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Weighted sum of the chosen experts' outputs for one token, [1, d_model].

    Args:
        x: [1, d_model].
        weights: [1, top_k], float32.
        chosen: [1, top_k], int64.
        gate_up: all experts, [num_experts, d_model, 2 * expert_dim].
        down: all experts, [num_experts, expert_dim, d_model].
    """
    top_k, (expert_dim, d_model) = chosen.shape[1], down.shape[1:]
    hidden = x.new_empty(top_k, expert_dim)
    grid = (top_k, triton.cdiv(expert_dim, _COLUMNS))
    _expert_hidden[grid](x, chosen, gate_up, hidden, d_model, expert_dim, _ROWS, _COLUMNS)
    outputs = x.new_empty(top_k, d_model)
    grid = (top_k, triton.cdiv(d_model, _COLUMNS))
    _expert_output[grid](hidden, weights, chosen, down, outputs, d_model, expert_dim, _ROWS, _COLUMNS)
    return outputs.sum(dim=0, keepdim=True)


def attend(
    qkv: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    eps: float,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    slot: Tensor,
) -> Tensor:
    """Attention of one token to itself and all slots before its own, which it fills; [1, 1, d_model].

    The keys are split into chunks (Flash-Decoding): one token's heads alone would leave most of a GPU idle.

    Args:
        qkv: the fused projection, [1, 1, 3 * d_model].
        q_norm, k_norm: weights of the RMS norms over the full width, [d_model].
        cos, sin: rotary factors of the token's position as `Rotary` makes them, [head_dim] elements, float32.
        keys, values: the block's cache, [1, num_heads, slots, head_dim], head_dim a power of two.
        slot: the token's position, one int64.
    """
    num_heads, num_slots, head_dim = keys.shape[1:]
    d_model, num_chunks = num_heads * head_dim, triton.cdiv(num_slots, _KEYS_PER_CHUNK)
    query = qkv.new_empty(d_model)
    width = triton.next_power_of_2(d_model)
    _rotate_and_store[(3,)](
        qkv, q_norm, k_norm, cos, sin, query, keys, values, slot, eps, num_slots, d_model, head_dim, width
    )
    chunk_sums = qkv.new_empty((num_heads, num_chunks, head_dim), dtype=torch.float32)
    chunk_maxima, chunk_weights = qkv.new_empty((2, num_heads, num_chunks), dtype=torch.float32)
    _attend_to_chunk[(num_heads, num_chunks)](
        query, keys, values, slot, chunk_sums, chunk_maxima, chunk_weights,
        head_dim**-0.5, num_slots, num_chunks, head_dim, _KEYS_PER_CHUNK,
    )  # fmt: skip
    out = torch.empty_like(query)
    _combine_chunks[(num_heads,)](
        chunk_sums, chunk_maxima, chunk_weights, slot, out,
        num_chunks, head_dim, _KEYS_PER_CHUNK, triton.next_power_of_2(num_chunks),
    )  # fmt: skip
    return out.view(1, 1, d_model)


@triton.jit
def _expert_hidden(
    x, chosen, gate_up, hidden,
    d_model: tl.constexpr, expert_dim: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some columns of silu(x @ gate) * (x @ up) of one chosen expert."""
    rank = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    matrix = gate_up + tl.load(chosen + rank) * (d_model * 2 * expert_dim)
    gate = tl.zeros((ROWS, COLUMNS), tl.float32)
    up = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, d_model, ROWS):
        rows = start + tl.arange(0, ROWS)
        mask = (rows < d_model)[:, None] & (columns < expert_dim)[None, :]
        places = matrix + rows[:, None] * (2 * expert_dim) + columns[None, :]
        values = tl.load(x + rows, rows < d_model, 0.0).to(tl.float32)[:, None]
        gate += values * tl.load(places, mask, 0.0).to(tl.float32)
        up += values * tl.load(places + expert_dim, mask, 0.0).to(tl.float32)
    total = tl.sum(gate, axis=0)
    result = total * tl.sigmoid(total) * tl.sum(up, axis=0)
    tl.store(hidden + rank * expert_dim + columns, result.to(hidden.dtype.element_ty), columns < expert_dim)


@triton.jit
def _expert_output(
    hidden, weights, chosen, down, outputs,
    d_model: tl.constexpr, expert_dim: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some columns of weight * (hidden @ down) of one chosen expert."""
    rank = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    matrix = down + tl.load(chosen + rank) * (expert_dim * d_model)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, expert_dim, ROWS):
        rows = start + tl.arange(0, ROWS)
        mask = (rows < expert_dim)[:, None] & (columns < d_model)[None, :]
        places = matrix + rows[:, None] * d_model + columns[None, :]
        values = tl.load(hidden + rank * expert_dim + rows, rows < expert_dim, 0.0).to(tl.float32)[:, None]
        total += values * tl.load(places, mask, 0.0).to(tl.float32)
    result = tl.load(weights + rank) * tl.sum(total, axis=0)
    tl.store(outputs + rank * d_model + columns, result.to(outputs.dtype.element_ty), columns < d_model)


@triton.jit
def _rotate_and_store(
    qkv, q_norm, k_norm, cos, sin, query, keys, values, slot,
    eps, num_slots, d_model: tl.constexpr, head_dim: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Three programs: the query is normalised and rotated; the key as well, and goes to its slot; the value to its."""
    part = tl.program_id(0)
    source = qkv + part * d_model
    columns = tl.arange(0, WIDTH)
    mask = columns < d_model
    in_head = columns % head_dim
    in_cache = (columns // head_dim) * (num_slots * head_dim) + tl.load(slot) * head_dim + in_head
    x = tl.load(source + columns, mask, 0.0)
    if part == 2:
        tl.store(values + in_cache, x, mask)
    else:
        norm = k_norm if part == 1 else q_norm
        partners = columns - in_head + (in_head + head_dim // 2) % head_dim
        scale = tl.rsqrt(tl.sum(x.to(tl.float32) * x.to(tl.float32)) / d_model + eps)
        own = _normalised(source, norm, columns, mask, scale)
        partner = _normalised(source, norm, partners, mask, scale)
        rotated = own * tl.load(cos + in_head) + partner * tl.load(sin + in_head)
        if part == 1:
            tl.store(keys + in_cache, rotated.to(x.dtype), mask)
        else:
            tl.store(query + columns, rotated.to(x.dtype), mask)


@triton.jit
def _normalised(source, norm, columns, mask, scale):
    """RMS norm of some columns, rounded to the dtype of the input before it is used further, as PyTorch does."""
    x = tl.load(source + columns, mask, 0.0)
    weight = tl.load(norm + columns, mask, 0.0).to(tl.float32)
    return (x.to(tl.float32) * scale * weight).to(x.dtype).to(tl.float32)


@triton.jit
def _attend_to_chunk(
    query, keys, values, slot, chunk_sums, chunk_maxima, chunk_weights,
    scale, num_slots, num_chunks, head_dim: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """One head over one chunk of slots: the values' sum weighted by exp(score - maximum), the maximum, the weight."""
    head, chunk = tl.program_id(0), tl.program_id(1)
    last = tl.load(slot)
    if chunk * KEYS <= last:
        places = chunk * KEYS + tl.arange(0, KEYS)
        dims = tl.arange(0, head_dim)
        seen = places <= last
        offsets = head * num_slots * head_dim + places[:, None] * head_dim + dims[None, :]
        q = tl.load(query + head * head_dim + dims).to(tl.float32)
        k = tl.load(keys + offsets, seen[:, None], 0.0).to(tl.float32)
        scores = tl.where(seen, tl.sum(k * q[None, :], axis=1) * scale, float("-inf"))
        maximum = tl.max(scores)
        weights = tl.exp(scores - maximum)
        v = tl.load(values + offsets, seen[:, None], 0.0).to(tl.float32)
        index = head * num_chunks + chunk
        tl.store(chunk_sums + index * head_dim + dims, tl.sum(weights[:, None] * v, axis=0))
        tl.store(chunk_maxima + index, maximum)
        tl.store(chunk_weights + index, tl.sum(weights))


@triton.jit
def _combine_chunks(
    chunk_sums, chunk_maxima, chunk_weights, slot, out,
    num_chunks, head_dim: tl.constexpr, KEYS: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """One head: the chunks that were attended to, brought to a common maximum."""
    head = tl.program_id(0)
    chunks = tl.arange(0, CHUNKS)
    dims = tl.arange(0, head_dim)
    used = chunks * KEYS <= tl.load(slot)
    index = head * num_chunks + chunks
    maxima = tl.load(chunk_maxima + index, used, float("-inf"))
    factors = tl.exp(maxima - tl.max(maxima))
    total = tl.sum(factors * tl.load(chunk_weights + index, used, 0.0))
    sums = tl.load(chunk_sums + index[:, None] * head_dim + dims[None, :], used[:, None], 0.0)
    result = tl.sum(factors[:, None] * sums, axis=0) / total
    tl.store(out + head * head_dim + dims, result.to(out.dtype.element_ty))
