"""Answers of many knob settings for a batch of samples, with the work that settings have in common done once.

Vision and the fixed prefix run once per tier. Behind the prefix, settings with the same top_k share every block up to
the first one that only some of them run: the settings form a tree over the blocks, which is walked depth first.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from adamolmo.data.samples import Sample
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decoder import KVCache
from adamolmo.model.inputs import ModelInputs, collate
from adamolmo.model.molmoe import PrefixState, continue_greedily

if TYPE_CHECKING:
    from adamolmo.engine import Engine

Key = TypeVar("Key", bound=Hashable)


def batches_by_length(
    engine: "Engine", samples: Sequence[Sample], style: str | None, tier: str, batch_size: int
) -> list[list[int]]:
    """Indices into `samples`, in batches of similar prompt length so that little is padded."""
    lengths = [engine.prompt_length(sample.open_image(), sample.question, style, tier) for sample in samples]
    order = sorted(range(len(samples)), key=lengths.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@torch.inference_mode()
def answer_grid(engine: "Engine", rows: Sequence[ModelInputs], settings: Mapping[Key, DecoderKnobs]) -> dict:
    """Greedy answers of every setting.

    Args:
        rows: inputs of single samples, all prepared at one tier.
        settings: the decoder's knobs by any key.

    Returns:
        Per key, one list of token ids (without the end token) per row.
    """
    prefix, cache = run_shared(engine, rows)
    answers: dict[Key, list[list[int]]] = {}
    for top_k in sorted({knobs.top_k for knobs in settings.values()}):
        branch = {key: knobs for key, knobs in settings.items() if knobs.top_k == top_k}
        _walk(engine, prefix, engine.model.config.fixed_prefix_layers, branch, cache, answers)
    return answers


def run_shared(engine: "Engine", rows: Sequence[ModelInputs]) -> tuple[PrefixState, KVCache]:
    """Vision and the fixed prefix of a batch."""
    model, batch = engine.model, collate(rows)
    # All real crops form one row of crops: crops are independent, and padding is not worth encoding.
    pixels, masks = (
        torch.cat([tensor[0] for tensor in tensors])[None].to(engine.device, engine.dtype)
        for tensors in ([row.pixels for row in rows], [row.masks for row in rows])
    )
    encoded = model.vision_backbone(pixels, masks)[0]
    features = encoded.new_zeros(*batch.pixels.shape[:2], *encoded.shape[1:])
    start = 0
    for index, row in enumerate(rows):
        num_crops = row.pixels.shape[1]
        features[index, :num_crops] = encoded[start : start + num_crops]
        start += num_crops
    prompt = model.embed(batch.input_ids.to(engine.device), features, batch.image_input_idx.to(engine.device))
    cache = model.new_cache(len(rows), prompt.shape[1] + engine.max_new_tokens)
    return model.run_prefix(prompt, batch.attention_mask.to(engine.device), cache), cache


def _walk(
    engine: "Engine",
    state: PrefixState,
    block: int,
    branch: Mapping[Key, DecoderKnobs],
    cache: KVCache,
    answers: dict[Key, list[list[int]]],
) -> None:
    """Answers the settings of `branch`, all of which ran the same blocks before `block`, which left `state`.

    One cache serves the whole tree: a branch rewrites what differs, and slots that an earlier answer left behind are
    written again before they can be read.
    """
    model = engine.model
    if block == model.config.num_layers:
        first = model.last_token_logits(state.hidden, state.lengths).argmax(dim=-1)
        knobs = next(iter(branch.values()))
        tokens = continue_greedily(model, first, state, knobs, cache, engine.max_new_tokens, engine.tokenizer.eos_id)
        answers.update(dict.fromkeys(branch, tokens))
        return
    running = {key: knobs for key, knobs in branch.items() if block in knobs.blocks}
    skipping = {key: knobs for key, knobs in branch.items() if block not in knobs.blocks}
    if skipping:
        _walk(engine, state, block + 1, skipping, cache, answers)
    if running:
        top_k = next(iter(running.values())).top_k
        hidden = model.forward_blocks(state.hidden, [block], top_k, state.positions, cache)
        _walk(engine, replace(state, hidden=hidden), block + 1, running, cache, answers)
