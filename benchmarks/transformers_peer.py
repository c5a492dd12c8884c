"""transformers' OLMoE as a peer: eager with each implementation of the experts, and compiled over a static cache."""

import torch
from cases import Case, Peer
from torch import Tensor


def eager_peer(twin, prompt: Tensor, decode_tokens: int) -> Peer:
    """Of the twin from `olmoe_twin`; prompt [1, tokens]."""
    from transformers import DynamicCache

    def prefill(experts: str) -> Tensor:
        twin.set_experts_implementation(experts)
        return twin(prompt, past_key_values=DynamicCache(config=twin.config), logits_to_keep=1).logits[0, -1]

    cache = DynamicCache(config=twin.config)
    first = twin(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1].argmax(dim=-1, keepdim=True)

    def decode(experts: str) -> list:
        twin.set_experts_implementation(experts)
        token = first
        for _ in range(decode_tokens):
            token = twin(token, past_key_values=cache).logits[:, -1].argmax(dim=-1, keepdim=True)
        cache.crop(-decode_tokens)
        return token.tolist()

    def last_token_again(experts: str) -> Tensor:
        twin.set_experts_implementation(experts)
        cache.crop(-1)
        return twin(prompt[:, -1:], past_key_values=cache).logits[0, -1]

    cases, logits = [], {}
    for experts in ("eager", "grouped_mm", "batched_mm"):
        name = f"transformers {experts}"
        if experts != "batched_mm":  # copies the chosen experts of every token: hundreds of GB for a prompt
            cases.append(Case(f"prefill {name}", "prompt", lambda e=experts: prefill(e)))
            logits[cases[-1].name] = prefill(experts)
        cases.append(Case(f"decode {name}", "token", lambda e=experts: decode(e), count=decode_tokens))
        logits[cases[-1].name] = last_token_again(experts)
    return Peer("transformers", logits, cases)


def compiled_peer(twin, prompt: Tensor, decode_tokens: int) -> Peer:
    """Decoding by `torch.compile` over a static cache, as transformers' documentation advises; with CUDA graphs on a
    GPU. The compiler fuses the choice of the experts into the products of "batched_mm"."""
    from transformers import StaticCache

    name, tokens = "transformers compiled", prompt.shape[1]
    cache = StaticCache(config=twin.config, max_cache_len=tokens + decode_tokens)
    twin.set_experts_implementation("grouped_mm")
    first = twin(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1].argmax(dim=-1, keepdim=True)

    @torch.compile(fullgraph=True, dynamic=False, mode="reduce-overhead" if prompt.is_cuda else None)
    def step(token: Tensor) -> Tensor:
        return twin(token, past_key_values=cache).logits[:, -1]

    def rewind(length: int) -> None:
        for layer in cache.layers:
            layer.cumulative_length.fill_(length)

    def decode() -> list:
        # Other cases use the same module; its setting is part of what the compiler checks before each call.
        twin.set_experts_implementation("batched_mm")
        rewind(tokens)
        token = first
        for _ in range(decode_tokens):
            token = step(token).argmax(dim=-1, keepdim=True)
        return token.tolist()

    twin.set_experts_implementation("batched_mm")
    rewind(tokens - 1)  # the prompt's last token once more, in memory as decoded ones: another would be compiled anew
    logits = step(prompt[:, -1:].clone(memory_format=torch.contiguous_format))[0].clone()
    case = Case(f"decode {name}", "token", decode, count=decode_tokens)
    return Peer(name, {case.name: logits}, [case])
