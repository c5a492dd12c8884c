"""Whether the knobs of a prepared model do what they say, on one image, before a study is built on them."""

import numpy as np
import torch
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.model import Check
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.inputs import ModelInputs, build_inputs
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, preprocess
from adamolmo.model.tokenizer import Tokenizer, format_prompt

_SIDE_PX = 64
_ALLOWED = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # rounding, relative to the largest logit


@torch.inference_mode()
def self_check(model: MolmoE, tokenizer: Tokenizer) -> tuple[Check, ...]:
    """Each check with the difference that was found. Raises AdaMolmoError for the first that fails."""
    prompt = _prompt(model, tokenizer)
    plain = model(prompt.input_ids, None, prompt.pixels, prompt.masks, prompt.image_input_idx)[:, -1]
    features = model.vision_backbone(prompt.pixels, prompt.masks)
    embedded = model.embed(prompt.input_ids, features, prompt.image_input_idx)  # [1, tokens, d_model]
    full = model.full_knobs
    behind = model.run_prefix(embedded, budget_token=embedded[:, 0])
    fewer = DecoderKnobs(max(1, full.top_k // 2), _without_one(model))
    return tuple(
        _compare(name, found, expected, embedded.dtype)
        for name, found, expected in (
            ("prefix and rest equal the plain pass", model.next_token_logits(model.run_prefix(embedded), full), plain),
            ("a budget token leaves the prompt as it was", model.next_token_logits(behind, full), plain),
            ("decoding without a block equals doing it anew", *_decoded(model, embedded, fewer)),
        )
    )


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


def _compare(name: str, found: Tensor, expected: Tensor, dtype: torch.dtype) -> Check:
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= _ALLOWED[dtype]:
        raise AdaMolmoError(
            f"the model fails its check '{name}': logits differ by {difference:.2g} of the largest; expected at most "
            f"{_ALLOWED[dtype]:.0e}."
        )
    return Check(name=name, difference=difference, allowed=_ALLOWED[dtype])
