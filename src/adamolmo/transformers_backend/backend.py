"""The study's `Backend` on a mixture-of-experts vision-language model of transformers.

What it leaves out beside MolmoE's: an overview is used again only at the cheapest tier; questions about one image do
not share its tokens in a batch; decoding runs step by step from Python, so that a GPU's latencies say more about the
host than about the knobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from adamolmo.backend.cost import Cost
from adamolmo.backend.interface import Overview, Picture, Sizes
from adamolmo.backend.prompts import check_length
from adamolmo.knobs import DecoderKnobs
from adamolmo.transformers_backend.batch import Batch
from adamolmo.transformers_backend.cache import LayerCache
from adamolmo.transformers_backend.costs import CostModel
from adamolmo.transformers_backend.decoder import Decoder, Prompts, image_tokens
from adamolmo.transformers_backend.processing import ImagePrompt, Pictures, Question, Texts, image_to


@dataclass(frozen=True)
class Prefix:
    """A prompt after the fixed prefix, see `adamolmo.backend.interface.Prefix`."""

    prompts: Prompts
    budget_state: Tensor | None

    @property
    def num_tokens(self) -> int:
        return self.prompts.hidden.shape[1]


class TransformersBackend:
    """See `adamolmo.backend.interface.Backend`; made by `loading.load`."""

    decoding_on_gpu = "step by step"

    def __init__(self, decoder: Decoder, texts: Texts, pictures: Pictures, costs: CostModel, ends: frozenset[int]):
        text, layers = decoder.config.get_text_config(), decoder.layers
        self.decoder, self.texts, self.pictures, self.costs, self.end_ids = decoder, texts, pictures, costs, ends
        self.name = decoder.family.model_type
        self.tiers = tuple(pictures.tiers)
        self.device, self.dtype = decoder.device, layers.head.weight.dtype
        self.sizes = Sizes(
            num_layers=layers.num_layers,
            fixed_prefix_layers=len(decoder.prefix),
            d_model=layers.head.in_features,
            top_k=layers.top_k,
            num_experts=layers.num_experts,
            max_positions=text.max_position_embeddings,
        )

    # Text and images, on the host.

    def read_question(self, question: str, style: str | None) -> Question:
        return self.texts.read(question, style)

    def pool_question(self, question: Question) -> Tensor:
        ids = torch.tensor(self.texts.text_ids(question), device=self.device)
        return self.decoder.embed(ids).float().mean(dim=0, keepdim=True)

    def prompt_size(self, image: Picture, question: Question, tier: str) -> tuple[int, int]:
        size = self.pictures.size_of(image, tier)
        return size.units, _num_tokens(question, size.tokens)

    def largest_prompt(self, question: Question) -> tuple[int, int]:
        size = self.pictures.largest(self.tiers[-1])
        return size.units, _num_tokens(question, size.tokens)

    def group_size(self, image: Picture, questions: Sequence[Question], tier: str) -> tuple[int, int]:
        size = self.pictures.size_of(image, tier)
        return size.units, sum(_num_tokens(question, size.tokens) for question in questions)

    def prompt_room(self, max_new_tokens: int) -> int:
        return self.sizes.max_positions - max_new_tokens

    def prepare(self, image: Picture, questions: Sequence[Question], tier: str, room: int) -> list[ImagePrompt]:
        inputs, size = self.pictures.load(image, tier)
        prompts = [
            ImagePrompt(torch.tensor([self.texts.expand(question, size.tokens)]), inputs, size.units, tier)
            for question in questions
        ]
        check_length(max(prompt.num_tokens for prompt in prompts), room)
        return prompts

    def decode_answer(self, tokens: Sequence[int]) -> str:
        return self.texts.decode(tokens)

    def answer_ids(self, text: str) -> list[int]:
        return [*self.texts.answer(text), min(self.end_ids)]

    # One request.

    def to_device(self, prompt: ImagePrompt) -> ImagePrompt:
        return prompt.to(self.device, self.dtype)

    def load_overview(self, image: Picture) -> tuple[Mapping[str, Tensor], int]:
        """What vision takes of the image at the cheapest tier, and its units."""
        inputs, size = self.pictures.load(image, self.tiers[0])
        return inputs, size.units

    def encode_overviews(self, loaded: Sequence[tuple[Mapping[str, Tensor], int]]) -> Overview:
        """One by one: images have different numbers of tokens."""
        seen = [self.decoder.see(image_to(inputs, self.device, self.dtype)) for inputs, _ in loaded]
        costs = (self.costs.vision(units) for _, units in loaded)
        return Overview([image_tokens(one) for one in seen], reusable=seen[0], cost=sum(costs, Cost()))

    def see(self, prompt: ImagePrompt, overview: Any | None = None) -> tuple[Any, Cost]:
        if overview is not None and prompt.tier == self.tiers[0]:
            return overview, Cost()
        return self.decoder.see(prompt.image), self.costs.vision(prompt.num_crops)

    def prepare_decoder(self, knobs: DecoderKnobs) -> None:
        """Nothing is compiled."""

    def new_cache(self, num_positions: int) -> LayerCache:
        """It grows as it is needed."""
        return self.decoder.new_cache()

    def run_prefix(
        self, prompt: ImagePrompt, seen: Any, cache: LayerCache, budget_token: Tensor | None = None
    ) -> Prefix:
        """The budget token runs behind the prompt, on a branch of the cache that is then dropped."""
        prompts = self.decoder.run_prefix(prompt.input_ids, None, [prompt.image], seen, cache)
        if budget_token is None:
            return Prefix(prompts, None)
        state = self.decoder.run_token(
            budget_token.to(self.dtype), prompts.next_position, cache.fork(), blocks=self.decoder.prefix
        )
        return Prefix(prompts, state)

    def first_token(self, prefix: Prefix, knobs: DecoderKnobs, cache: LayerCache) -> Tensor:
        adaptive = knobs.behind(len(self.decoder.prefix))
        hidden = self.decoder.run_blocks(prefix.prompts.hidden, prefix.prompts, adaptive, knobs.top_k, cache)
        return self.logits(hidden[:, -1]).argmax(dim=-1)

    def continue_greedily(
        self, first: Tensor, prefix: Prefix, knobs: DecoderKnobs, cache: LayerCache, max_new_tokens: int
    ) -> list[int]:
        token, position, tokens = first, prefix.prompts.next_position, []
        while (last := token.item()) not in self.end_ids:
            tokens.append(last)
            if len(tokens) == max_new_tokens:
                break
            state = self.decoder.run_token(
                self.decoder.embed(token), position, cache, blocks=knobs.blocks, top_k=knobs.top_k
            )
            token, position = self.logits(state).argmax(dim=-1), position + 1
        return tokens

    # Many requests at once.

    def open_batch(self, groups: Sequence[Sequence[ImagePrompt]], max_new_tokens: int) -> Batch:
        moved = []
        for group in groups:
            first = self.to_device(group[0])
            others = [replace(first, input_ids=prompt.input_ids.to(self.device)) for prompt in group[1:]]
            moved.append([first, *others])
        return Batch(self.decoder, moved, self.end_ids)

    def with_answer(self, prompt: ImagePrompt, tokens: Sequence[int]) -> ImagePrompt:
        answer = torch.tensor([list(tokens)], device=prompt.input_ids.device)
        return replace(prompt, input_ids=torch.cat([prompt.input_ids, answer], dim=1))

    def logits(self, hidden: Tensor) -> Tensor:
        return self.decoder.layers.logits(hidden)


def _num_tokens(question: Question, image_tokens: int) -> int:
    return len(question.ids) - 1 + image_tokens
