"""Requests of a backend in a few words, for the tests: to a prompt, to its logits, to an answer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adamolmo.knobs import DecoderKnobs

QUESTION = "what number is on the red sign ?"
QUESTIONS = (QUESTION, "how many objects are there ?", "yes no a b ?")


@dataclass
class Request:
    """A prompt after the fixed prefix."""

    prompt: Any
    prefix: Any
    cache: Any


def prompt_of(backend: Any, picture: Any, question: str = QUESTION, tier: str | None = None) -> Any:
    """On the device, at the cheapest tier unless another is named."""
    tier = tier or backend.tiers[0]
    asked = backend.read_question(question, None)
    (prompt,) = backend.prepare(picture, [asked], tier, backend.prompt_room(16))
    return backend.to_device(prompt)


def begin(backend: Any, prompt: Any, budget_token: Tensor | None = None, seen: Any | None = None) -> Request:
    """`seen`: of the same image, where it has been seen already."""
    cache = backend.new_cache(prompt.num_tokens + 16)
    if seen is None:
        seen, _ = backend.see(prompt)
    return Request(prompt, backend.run_prefix(prompt, seen, cache, budget_token), cache)


def answer(backend: Any, request: Request, knobs: DecoderKnobs, new_tokens: int = 6) -> list[int]:
    first = backend.first_token(request.prefix, knobs, request.cache)
    return backend.continue_greedily(first, request.prefix, knobs, request.cache, new_tokens)


def all_logits(backend: Any, request: Request, knobs: DecoderKnobs) -> Tensor:
    """Of every position of the prompt, [1, tokens, vocabulary]; the request's cache stays as it was."""
    decoder, prompts = backend.decoder, request.prefix.prompts
    blocks = [block for block in knobs.blocks if block not in decoder.prefix]
    hidden = decoder.run_blocks(prompts.hidden, prompts, blocks, knobs.top_k, request.cache.fork())
    return backend.logits(hidden)


def decode(backend: Any, request: Request, knobs: DecoderKnobs, tokens: list[int]) -> Tensor:
    """Logits behind the prompt and behind each of these tokens, [1 + tokens, vocabulary], step by step."""
    decoder, prompts = backend.decoder, request.prefix.prompts
    blocks = [block for block in knobs.blocks if block not in decoder.prefix]
    hidden = decoder.run_blocks(prompts.hidden, prompts, blocks, knobs.top_k, request.cache)
    found = [backend.logits(hidden)[:, -1]]
    for step, token in enumerate(tokens):
        embedded = decoder.embed(torch.tensor([token]))
        position = prompts.next_position + step
        state = decoder.run_token(embedded, position, request.cache, blocks=knobs.blocks, top_k=knobs.top_k)
        found.append(backend.logits(state))
    return torch.cat(found)


def words(backend: Any, text: str = "how many objects are there no 3") -> list[int]:
    """Ids of words, which no model takes for an image."""
    return backend.texts.answer(text)


def block_sets(backend: Any) -> dict[str, tuple[int, ...]]:
    every, first = range(backend.sizes.num_layers), backend.sizes.fixed_prefix_layers
    return {
        "all": tuple(every),
        "without the first that may go": tuple(b for b in every if b != first),
        "without one in the middle": tuple(b for b in every if b != first + 1),
        "without the last two": tuple(every[:-2]),
        "the prefix alone": tuple(range(first)),
    }
