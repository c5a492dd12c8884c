"""Floating-point operations as torch counts them, to compare the cost model with."""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


def grouped_mm_flops(tokens, experts, *args, out_val=None, **kwargs):
    return 2 * math.prod(tokens) * experts[-1]


def attention_flops(q, k, v, *args, out_val=None, **kwargs):
    batch, heads, queries, dim = q
    return 4 * batch * heads * queries * k[2] * dim


def weighted_rows_flops(table, indices, *args, out_val=None, **kwargs):
    return 2 * math.prod(indices) * table[1]


def count(run) -> int:
    """FLOPs by torch's counter, which knows neither grouped products, nor bags of rows, nor attention on the CPU."""
    mapping = {
        aten._embedding_bag_forward_only: weighted_rows_flops,
        aten._grouped_mm: grouped_mm_flops,
        aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with counter, torch.inference_mode():
        run()
    return counter.get_total_flops()
