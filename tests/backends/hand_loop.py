"""Two families' decoders once more, written from their papers and weights alone: one loop over all positions, no cache,
no masks of a library, experts one by one. What the knobs do is in the loop, for everyone to read.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adamolmo.knobs import DecoderKnobs


def hand_logits(backend: Any, prompt: Any, knobs: DecoderKnobs) -> Tensor:
    """Of every position, [1, tokens, vocabulary]."""
    decoder = backend.decoder
    text, ids = decoder.layers.text, prompt.input_ids
    is_image = ids[0] == backend.texts.image_id
    features, deepstack = _vision(decoder, prompt)
    x = text.embed_tokens(ids)
    x[0, is_image] = features
    if decoder.family.model_type == "aria":
        positions = torch.arange(ids.shape[1])[None]
    else:
        grid = prompt.image["image_grid_thw"]
        positions, _ = decoder.model.model.get_rope_index(ids, is_image[None].int(), image_grid_thw=grid)
    cos, sin = text.rotary_emb(x, positions)
    for number, layer in enumerate(text.layers):
        if number in knobs.blocks:
            top_k = backend.sizes.top_k if number < backend.sizes.fixed_prefix_layers else knobs.top_k
            x = x + _attention(layer.self_attn, layer.input_layernorm(x), cos, sin)
            x = x + _experts(layer.mlp, layer.post_attention_layernorm(x)[0], top_k)[None]
        if number < len(deepstack):
            x[0, is_image] += deepstack[number]
    return decoder.layers.head(text.norm(x))


def _vision(decoder: Any, prompt: Any) -> tuple[Tensor, list[Tensor]]:
    found = decoder.model.model.get_image_features(**prompt.image, return_dict=True)
    if decoder.family.model_type == "aria":
        return found.pooler_output.flatten(0, 1), []
    return torch.cat(list(found.pooler_output)), [torch.cat(list(level)) for level in found.deepstack_features]


def _attention(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    tokens = x.shape[1]
    q, k, v = (
        project(x).view(1, tokens, -1, attention.head_dim)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if hasattr(attention, "q_norm"):
        q, k = attention.q_norm(q), attention.k_norm(k)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # [1, heads, tokens, head_dim]
    q, k = (part * cos[:, None] + _half_turned(part) * sin[:, None] for part in (q, k))
    k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], dim=1) for part in (k, v))
    scores = q @ k.transpose(-1, -2) / attention.head_dim**0.5
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
    return attention.o_proj((weights @ v).transpose(1, 2).reshape(1, tokens, -1))


def _half_turned(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def _experts(mlp: Any, x: Tensor, top_k: int) -> Tensor:
    """[tokens, d_model] -> the same. Aria chooses by logits, adds shared experts, and stores matrices turned."""
    is_aria = hasattr(mlp, "shared_experts")
    router = mlp.router if is_aria else mlp.gate
    values, chosen = F.linear(x, router.weight).topk(top_k, dim=-1)
    weights = values.softmax(dim=-1)  # of the chosen alone: as renormalising the softmax of all
    out = mlp.shared_experts(x) if is_aria else torch.zeros_like(x)
    for token, (experts, shares) in enumerate(zip(chosen.tolist(), weights, strict=True)):
        for expert, share in zip(experts, shares, strict=True):
            up, down = mlp.experts.gate_up_proj[expert], mlp.experts.down_proj[expert]
            if is_aria:
                up, down = up.T, down.T
            gate, value = (up @ x[token]).chunk(2)
            out[token] += share * (down @ (F.silu(gate) * value))
    return out
