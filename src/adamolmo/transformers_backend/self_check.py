"""Whether a model with its knobs is what it says, tried on one image with the model itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamolmo.backend.self_check import ROUNDING, difference, passed
from adamolmo.files.model import Check
from adamolmo.knobs import DecoderKnobs
from adamolmo.transformers_backend.backend import TransformersBackend
from adamolmo.transformers_backend.decoder import Prompts
from adamolmo.transformers_backend.processing import ImagePrompt

_QUESTION = "what number is on the sign ?"
_DECODED = 4


@torch.inference_mode()
def self_check(backend: TransformersBackend, image: Image.Image | None = None) -> tuple[Check, ...]:
    """See `backend.self_check.passed`."""
    tried, rounding = _Comparisons(backend, image or _picture()), ROUNDING[backend.dtype]
    comparisons = (
        ("prefix and rest equal the stock model", tried.prefix_and_rest, 0),
        ("all knobs at their highest equal the stock model", tried.full_knobs, 0),
        ("top_k equals a model built with it", tried.top_k, rounding),
        ("decoding without a block equals doing it anew", tried.cached_decoding, rounding),
        ("a budget token leaves the prompt as it was", tried.budget_token, 0),
    )
    return passed(backend.name, comparisons)


class _Comparisons:
    """A prompt of one model, and the stock model's logits for it."""

    def __init__(self, backend: TransformersBackend, image: Image.Image):
        self.backend, self.decoder = backend, backend.decoder
        question = backend.read_question(_QUESTION, None)
        (prompt,) = backend.prepare(image, [question], backend.tiers[0], backend.prompt_room(_DECODED))
        self.prompt: ImagePrompt = backend.to_device(prompt)
        self.seen = self.decoder.see(self.prompt.image)
        self.stock = self._stock(self.prompt)

    def prefix_and_rest(self) -> float:
        """All positions, the model's own top_k."""
        prompts, cache = self._prefix(self.prompt)
        return difference(self._rest(prompts, cache, self.backend.sizes.full_knobs), self.stock)

    def full_knobs(self) -> float:
        """The stock forward pass within a pass of all blocks and the full top_k."""
        with self.decoder.layers.knobs(self.backend.sizes.top_k, range(self.backend.sizes.num_layers)):
            logits = self._stock(self.prompt)
        return difference(logits, self.stock)

    def top_k(self) -> float:
        """Each layer behind the prefix against one that is built with the smaller top_k and has its weights."""
        layers, worst = self.decoder.layers, 0.0
        top_k = max(1, self.backend.sizes.top_k // 2)
        prompts, _ = self._prefix(self.prompt)
        config = copy.deepcopy(self.decoder.config)
        text = config.get_text_config()
        names = [name for name in _TOP_K_KEYS if getattr(text, name, None) == self.backend.sizes.top_k]
        for name in names:
            setattr(text, name, top_k)
        hidden = prompts.hidden
        for block in range(len(self.decoder.prefix), layers.num_layers):
            built = type(layers.text.layers[block])(text, block)
            built.load_state_dict(layers.text.layers[block].state_dict())
            built.to(hidden.device, hidden.dtype).eval()
            args, kwargs = prompts.calls[block]
            want = built(hidden, *args, **kwargs | {"past_key_values": None})
            got = layers.run(hidden, prompts.calls, [block], top_k, None)
            worst = max(worst, difference(got, want))
            hidden = got
        return worst

    def cached_decoding(self) -> float:
        """A few tokens with some block left out, step by step and in one pass over prompt and tokens."""
        sizes = self.backend.sizes
        left_out = {sizes.fixed_prefix_layers, sizes.num_layers - 2} - set(self.decoder.prefix)
        blocks = tuple(block for block in range(sizes.num_layers) if block not in left_out)
        knobs = DecoderKnobs(max(1, sizes.top_k // 2), blocks)
        prompts, cache = self._prefix(self.prompt)
        token_ids = self.backend.texts.text_ids(self.backend.read_question(_QUESTION, None))[:_DECODED]
        steps = [self._rest(prompts, cache, knobs)[:, -1]]
        for index, token in enumerate(token_ids):
            embedded = self.decoder.embed(torch.tensor([token], device=self.backend.device))
            position = prompts.next_position + index
            state = self.decoder.run_token(embedded, position, cache, blocks=blocks, top_k=knobs.top_k)
            steps.append(self.backend.logits(state))
        longer, fresh = self._prefix(self.backend.with_answer(self.prompt, token_ids))
        want = self._rest(longer, fresh, knobs)[0, self.prompt.num_tokens - 1 :]
        return difference(torch.cat(steps), want)

    def budget_token(self) -> float:
        """The prompt's logits with and without a token behind the fixed prefix."""
        token = self.stock.new_ones(1, self.backend.sizes.d_model)
        cache = self.decoder.new_cache()
        prefix = self.backend.run_prefix(self.prompt, self.seen, cache, token)
        return difference(self._rest(prefix.prompts, cache, self.backend.sizes.full_knobs), self.stock)

    def _prefix(self, prompt: ImagePrompt) -> tuple[Prompts, Any]:
        cache = self.decoder.new_cache()
        return self.decoder.run_prefix(prompt.input_ids, None, [prompt.image], self.seen, cache), cache

    def _rest(self, prompts: Prompts, cache: Any, knobs: DecoderKnobs) -> Tensor:
        blocks = knobs.behind(len(self.decoder.prefix))
        hidden = self.decoder.run_blocks(prompts.hidden, prompts, blocks, knobs.top_k, cache)
        return self.backend.logits(hidden)  # [1, tokens, vocabulary]

    def _stock(self, prompt: ImagePrompt) -> Tensor:
        """The model's own forward pass, which makes its positions by itself."""
        return self.decoder.model(**stock_inputs(self.backend, prompt)).logits


_TOP_K_KEYS = "num_experts_per_tok", "moe_topk", "moe_k"


def stock_inputs(backend: TransformersBackend, prompt: ImagePrompt) -> Mapping[str, Tensor]:
    """What the model's own `forward` takes, as the family's processor would give it."""
    family, ids = backend.decoder.family, prompt.input_ids
    marks = {}
    if family.grid_positions:
        marks["mm_token_type_ids"] = (ids == backend.texts.image_id).int()
    if family.vision_tokens:
        tokens = torch.tensor([getattr(backend.decoder.config, name) for name in family.vision_tokens])
        marks["moe_mm_token_type_ids"] = torch.isin(ids, tokens.to(ids.device)).long()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **prompt.image, **marks}


def _picture() -> Image.Image:
    """Of no two equal regions, 200 x 150 px."""
    rows, columns = np.mgrid[:150, :200]
    pixels = np.stack([rows, columns, (rows * columns) // 7 % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
