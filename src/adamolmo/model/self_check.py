"""Whether the knobs of a prepared model do what they say, on one image, before a study is built on them."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from adamolmo.backend.self_check import ROUNDING, difference, passed
from adamolmo.files.model import Check
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.inputs import ModelInputs, build_inputs
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, preprocess
from adamolmo.model.tokenizer import Tokenizer, format_prompt

_SIDE_PX = 64


@torch.inference_mode()
def self_check(model: MolmoE, tokenizer: Tokenizer) -> tuple[Check, ...]:
    """See `backend.self_check.passed`."""
    prompt = _prompt(model, tokenizer)
    plain = model(prompt.input_ids, None, prompt.pixels, prompt.masks, prompt.image_input_idx)[:, -1]
    features = model.vision_backbone(prompt.pixels, prompt.masks)
    embedded = model.embed(prompt.input_ids, features, prompt.image_input_idx)  # [1, tokens, d_model]
    full = model.full_knobs
    behind = model.run_prefix(embedded, budget_token=embedded[:, 0])
    fewer = DecoderKnobs(max(1, full.top_k // 2), _without_one(model))
    comparisons = (
        ("prefix and rest equal the plain pass", model.next_token_logits(model.run_prefix(embedded), full), plain),
        ("a budget token leaves the prompt as it was", model.next_token_logits(behind, full), plain),
        ("decoding without a block equals doing it anew", *_decoded(model, embedded, fewer)),
    )
    rounding = ROUNDING[embedded.dtype]
    return passed("molmo", ((name, partial(difference, *logits), rounding) for name, *logits in comparisons))


def _prompt(model: MolmoE, tokenizer: Tokenizer) -> ModelInputs:
    """A question about a seeded picture, at one crop."""
    config = PreprocessConfig.of_model(model.config)
    pixels = np.random.default_rng(0).integers(0, 256, (_SIDE_PX, _SIDE_PX, 3), dtype=np.uint8)
    question_ids = tokenizer.encode(format_prompt("what is this ?", None))
    prompt = build_inputs(question_ids, preprocess(pixels, 1, 1, config), config, tokenizer.specials)
    weight = model.lm_head.weight
    return prompt.to(weight.device, weight.dtype)


def _without_one(model: MolmoE) -> tuple[int, ...]:
    """All blocks but the first behind the prefix."""
    fixed = model.config.fixed_prefix_layers
    return tuple(block for block in range(model.config.num_layers) if block != fixed)


def _decoded(model: MolmoE, embedded: Tensor, knobs: DecoderKnobs) -> tuple[Tensor, Tensor]:
    """Logits [1, vocabulary] behind the first token of an answer: decoded with a cache, and computed without one."""
    tokens = embedded.shape[1]
    cache = model.new_cache(1, tokens + 1)
    prefix = model.run_prefix(embedded, cache=cache)
    token = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
    decoded = model.decode(token, prefix.lengths, knobs, cache, tokens + 1)
    longer = torch.cat([embedded, model.embed(token[None])], dim=1)  # [1, tokens + 1, d_model]
    return decoded, model.next_token_logits(model.run_prefix(longer), knobs)
