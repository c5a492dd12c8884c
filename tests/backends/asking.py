"""A model asked through the study's interface alone: one request, one engine, settings of the knobs to try."""

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from requests_of import QUESTIONS
from torch import Tensor

from adamolmo.backend.interface import Backend, Prompt
from adamolmo.backend.loading import load_backend
from adamolmo.data.samples import Sample
from adamolmo.inference.clock import ModelledClock
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.engine import Engine, Response
from adamolmo.knobs import BlockRanking, DecoderKnobs, KnobConfig

PREFIX = 3
NEW_TOKENS = 6


@dataclass(frozen=True)
class Model:
    """Attributes:
    original: before it was prepared.
    prepared: directory of it.
    tiers: as a study's configuration has them.
    """

    original: Backend
    prepared: Path
    tiers: dict[str, dict]

    @functools.cached_property
    def backend(self) -> Backend:
        return load_backend(
            self.prepared, tiers=self.tiers, fixed_prefix_layers=PREFIX, dtype=torch.float32, device="cpu"
        )


def engine_of(backend: Backend) -> Engine:
    """Every block behind the prefix may go, not in the order in which they stand."""
    removable = list(range(PREFIX, backend.sizes.num_layers))
    ranking = BlockRanking(backend.sizes.num_layers, (*removable[1::2], *removable[::2]))
    return Engine(backend, ranking, ModelledClock(), NEW_TOKENS)


def settings(backend: Backend) -> list[DecoderKnobs]:
    """All blocks, each one skipped, the prefix alone; with few experts, the model's own number, and all."""
    sizes = backend.sizes
    every, prefix = range(sizes.num_layers), tuple(range(PREFIX))
    block_sets = [tuple(every), *(tuple(b for b in every if b != gone) for gone in every[PREFIX:]), prefix]
    return [DecoderKnobs(k, blocks) for k in (1, sizes.top_k, sizes.num_experts) for blocks in block_sets]


def grid(backend: Backend, tier: str) -> list[KnobConfig]:
    sizes = backend.sizes
    decoders = (1, sizes.num_layers), (1, PREFIX), (sizes.top_k, sizes.num_layers - 2), (sizes.top_k, sizes.num_layers)
    return [KnobConfig(tier, *decoder) for decoder in decoders]


def prompts_of(backend: Backend, picture: Any, questions=QUESTIONS[:1], tier: str | None = None) -> list[Prompt]:
    """At the cheapest tier unless another is named."""
    read = [backend.read_question(question, None) for question in questions]
    return backend.prepare(picture, read, tier or backend.tiers[0], backend.prompt_room(NEW_TOKENS))


def answer(
    backend: Backend, prompt: Prompt, knobs: DecoderKnobs, token: Tensor | None = None, overview: Any = None
) -> list[int]:
    """One request from prompt to answer."""
    with torch.inference_mode():
        prompt = backend.to_device(prompt)
        seen, _ = backend.see(prompt, overview)
        return decoded(backend, prompt, seen, knobs, token)


def decoded(backend: Backend, prompt: Prompt, seen: Any, knobs: DecoderKnobs, token: Tensor | None = None) -> list[int]:
    cache = backend.new_cache(prompt.num_tokens + NEW_TOKENS)
    prefix = backend.run_prefix(prompt, seen, cache, token)
    first = backend.first_token(prefix, knobs, cache)
    return backend.continue_greedily(first, prefix, knobs, cache, NEW_TOKENS)


def asked(engine: Engine, picture: Any, config: KnobConfig, question: str = QUESTIONS[0]) -> Response:
    return engine.answer(picture, question, None, FixedController(config), Limit())


def samples_of(pictures) -> list[Sample]:
    """Three images with three, one and two questions."""
    asked_about = (QUESTIONS, QUESTIONS[1:2], QUESTIONS[1:])
    samples = []
    for image, (picture, questions) in enumerate(zip(pictures, asked_about, strict=True)):
        file = io.BytesIO()
        picture.save(file, format="PNG")
        samples += [Sample(f"{image}-{q}", f"{image}", file.getvalue(), q, ("yes",)) for q in questions]
    return samples
