"""Answers with many variants of the knobs for many samples, with the work that they have in common done once.

- An image's crops are encoded once per tier, and its tokens pass each block once for all questions about it
  (`packing.py`).
- Blocks of the fixed prefix run once per tier.
- Behind the prefix, variants with the same top_k share every block up to the first one that only some of them run: the
  variants form a tree over the blocks, which is walked depth first.

Answers are those of one request at a time, up to the rounding of floating-point sums.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from adamolmo.data.samples import Questions, Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.engine import Engine
from adamolmo.inference.packing import PackedPrompts, pack
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decoder import KVCache, Positions
from adamolmo.model.inputs import ModelInputs, build_inputs, collate
from adamolmo.model.molmoe import PrefixState
from adamolmo.model.preprocess import preprocess, select_tiling
from adamolmo.progress import note, progress

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be.

    Attributes:
        size: samples of a batch at most, as far as whole images allow.
        memory_bytes: what a batch may take beyond the weights, by estimate; a batch that does not fit all the same is
            halved and tried again.
    """

    size: int
    memory_bytes: float = math.inf


@dataclass(frozen=True)
class Answered:
    """One sample's answers: token ids without the end token, by the key of the variant."""

    sample: Sample
    num_crops: int
    input_tokens: int
    tokens: dict


def answer_samples(
    engine: Engine,
    questions: Questions,
    tier: str,
    variants: Mapping[Key, DecoderKnobs],
    limits: BatchLimits,
    description: str = "answers",
) -> Iterator[Answered]:
    """Greedy answers with every variant of the decoder's knobs to every question, batch by batch.

    Args:
        variants: the decoder's knobs by any key.

    Raises AdaMolmoError when a single image does not fit into the device's memory.
    """
    batches = image_batches(engine, questions, tier, limits)
    for batch in progress(batches, f"{description}, tier {tier}, batches", len(batches)):
        yield from halving(lambda groups: _answer_batch(engine, groups, questions.style, tier, variants), batch)


def image_batches(engine: Engine, questions: Questions, tier: str, limits: BatchLimits) -> list[list[list[Sample]]]:
    """Batches of images, each with all its samples; images of similar length together, so that little is padded."""
    by_image: dict[bytes, list[Sample]] = {}
    for sample in questions.samples:
        by_image.setdefault(sample.image, []).append(sample)
    sized = [(*_packed_size(engine, group, questions.style, tier), group) for group in by_image.values()]
    sized.sort(key=lambda entry: entry[0])
    batches: list[list[list[Sample]]] = []
    num_samples = 0
    for tokens, num_crops, group in sized:  # the longest of a batch comes last
        room = limits.memory_bytes / _row_bytes(engine, num_crops, tokens, len(group))
        if not batches or num_samples + len(group) > limits.size or len(batches[-1]) + 1 > room:
            batches.append([])
            num_samples = 0
        batches[-1].append(group)
        num_samples += len(group)
    return batches


def _packed_size(engine: Engine, group: Sequence[Sample], style: str | None, tier: str) -> tuple[int, int]:
    """Tokens (the questions' styles counted for each) and crops of an image with its questions."""
    image, crop_range = group[0].open_image(), engine.crop_range(tier)
    tiling = select_tiling(
        image.height, image.width, crop_range.min_crops, crop_range.max_crops, engine.preprocess_config
    )
    first, *others = (len(engine.question_ids(sample.question, style)) for sample in group)
    alone = engine.prompt_length(image, group[0].question, style, tier)
    return alone + sum(others), 1 + tiling[0] * tiling[1]


def _row_bytes(engine: Engine, num_crops: int, tokens: int, questions: int) -> int:
    """Memory of one image in a batch: a request's activations and cache, the tree's hidden states, two masks."""
    costs, config = engine.costs, engine.model.config
    new_tokens = questions * engine.max_new_tokens
    request = (
        costs.memory_bytes(num_crops, tokens, new_tokens, config.top_k) - costs.num_weights() * costs.element_bytes
    )
    branches = (config.num_layers - config.fixed_prefix_layers) * tokens * config.d_model * costs.element_bytes
    return request + branches + 5 * tokens**2


def halving(run: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """`run(items)`; when the device's memory does not suffice, of both halves, and so on.

    Raises AdaMolmoError when a single item is too much.
    """
    try:
        return run(items)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
    # Outside of the handler nothing holds the failed attempt's tensors any more.
    if len(items) == 1:
        raise AdaMolmoError(f"one image alone exceeds the device's memory ({reason}); expected a larger device.")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    note(f"out of memory with {len(items)} images at once: trying half ({reason})")
    middle = len(items) // 2
    return halving(run, items[:middle]) + halving(run, items[middle:])


def _is_out_of_memory(error: BaseException) -> bool:
    in_words = "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(text in str(error) for text in in_words)


@torch.inference_mode()
def _answer_batch(
    engine: Engine,
    groups: Sequence[Sequence[Sample]],
    style: str | None,
    tier: str,
    variants: Mapping[Key, DecoderKnobs],
) -> list[Answered]:
    prepared = [prepare_group(engine, group, style, tier) for group in groups]
    answers = answer_grid(engine, prepared, variants)
    return [
        Answered(sample, inputs.pixels.shape[1], inputs.input_ids.shape[1], tokens)
        for group, rows, answered in zip(groups, prepared, answers, strict=True)
        for sample, inputs, tokens in zip(group, rows, answered, strict=True)
    ]


def prepare_group(engine: Engine, group: Sequence[Sample], style: str | None, tier: str) -> list[ModelInputs]:
    """Inputs of samples that have one image in common, which is cut into crops once."""
    crop_range, config = engine.crop_range(tier), engine.preprocess_config
    crops = preprocess(group[0].open_image(), crop_range.min_crops, crop_range.max_crops, config)
    specials, most_tokens = engine.tokenizer.specials, engine.model.config.most_prompt_tokens(engine.max_new_tokens)
    return [
        build_inputs(engine.question_ids(sample.question, style), crops, config, specials, most_tokens)
        for sample in group
    ]


def answer_grid(
    engine: Engine, groups: Sequence[Sequence[ModelInputs]], variants: Mapping[Key, DecoderKnobs]
) -> list[list[dict[Key, list[int]]]]:
    """Per image and question the answer of every variant; each group of inputs has its image in common."""
    walk = _Walk(engine, groups)
    for top_k in sorted({knobs.top_k for knobs in variants.values()}):
        branch = {key: knobs for key, knobs in variants.items() if knobs.top_k == top_k}
        walk.descend(walk.hidden, engine.model.config.fixed_prefix_layers, branch)
    return walk.answers


class _Walk:
    """One batch on its way through the tree of variants.

    One cache serves the whole tree: a branch rewrites what differs, and slots that an earlier answer left behind are
    written again before they can be read.
    """

    def __init__(self, engine: Engine, groups: Sequence[Sequence[ModelInputs]]):
        self.engine, self.model = engine, engine.model
        self.prompts: PackedPrompts = pack(groups).to(engine.device)
        self.answers: list[list[dict]] = [[{} for _ in group] for group in groups]
        images, questions = self.prompts.last.shape
        room = self.prompts.input_ids.shape[1] + questions * engine.max_new_tokens
        self.cache = self.model.new_cache(images, room)
        self.positions = self.prompts.prompt_positions(self.model.rotary)
        first = [group[0] for group in groups]
        index = collate(first).image_input_idx.to(engine.device)  # [images, crops, tokens_per_crop]
        prompt = self.model.embed(self.prompts.input_ids, encode_crops(engine, first), index)
        self.hidden = self._prefix(prompt, self.positions)  # [images, tokens, d_model]

    def descend(self, hidden: Tensor, block: int, branch: Mapping[Key, DecoderKnobs]) -> None:
        """Answers the variants of `branch`, all of which ran the same blocks before `block`, which left `hidden`."""
        if block == self.model.config.num_layers:
            for image, question, tokens in self._generate(hidden, next(iter(branch.values()))):
                self.answers[image][question].update(dict.fromkeys(branch, tokens))
            return
        running = {key: knobs for key, knobs in branch.items() if block in knobs.blocks}
        skipping = {key: knobs for key, knobs in branch.items() if block not in knobs.blocks}
        if skipping:
            self.descend(hidden, block + 1, skipping)
        if running:
            top_k = next(iter(running.values())).top_k
            self.descend(
                self.model.forward_blocks(hidden, [block], top_k, self.positions, self.cache), block + 1, running
            )

    def _generate(self, hidden: Tensor, knobs: DecoderKnobs) -> Iterator[tuple[int, int, list[int]]]:
        """Greedy generation of all questions at once: (image, question, ids without the end token)."""
        prompts, eos_id = self.prompts, self.engine.tokenizer.eos_id
        images = torch.arange(len(hidden), device=hidden.device)[:, None]
        token = self._most_likely(hidden[images, prompts.last])  # [images, questions]
        produced, running = [token], prompts.asked & (token != eos_id)
        while len(produced) < self.engine.max_new_tokens and running.any():
            positions = prompts.decode_positions(self.model.rotary, len(produced) - 1)
            x = self._prefix(self.model.transformer["wte"](token), positions)  # [images, questions, d_model]
            blocks = [block for block in knobs.blocks if block >= self.model.config.fixed_prefix_layers]
            token = self._most_likely(self.model.forward_blocks(x, blocks, knobs.top_k, positions, self.cache))
            produced.append(token)
            running = running & (token != eos_id)
        for image, row in enumerate(torch.stack(produced, dim=-1).tolist()):
            for question in range(len(self.answers[image])):
                tokens = row[question]
                yield image, question, tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens

    def _prefix(self, x: Tensor, positions: Positions) -> Tensor:
        config = self.model.config
        return self.model.forward_blocks(x, range(config.fixed_prefix_layers), config.top_k, positions, self.cache)

    def _most_likely(self, hidden: Tensor) -> Tensor:
        """[images, questions, d_model] -> tokens [images, questions]."""
        return self.model.lm_head(self.model.transformer["ln_f"](hidden)).argmax(dim=-1)


def num_block_runs(variants: Sequence[DecoderKnobs], fixed_prefix_layers: int) -> int:
    """Blocks behind the prefix that one batch runs for all variants: distinct (top_k, executed blocks so far)."""
    adaptive = [(knobs.top_k, [block for block in knobs.blocks if block >= fixed_prefix_layers]) for knobs in variants]
    return len({(top_k, *blocks[: end + 1]) for top_k, blocks in adaptive for end in range(len(blocks))})


def encode_crops(engine: Engine, rows: Sequence[ModelInputs]) -> Tensor:
    """Image features of several inputs, [rows, crops, tokens per crop, d_model]; missing crops are zero."""
    # All real crops form one row of crops: crops are independent, and padding is not worth encoding.
    pixels, masks = (
        torch.cat([tensor[0] for tensor in tensors])[None].to(engine.device, engine.dtype)  # [1, all crops, ...]
        for tensors in ([row.pixels for row in rows], [row.masks for row in rows])
    )
    encoded = engine.model.vision_backbone(pixels, masks)[0]  # [all crops, tokens_per_crop, d_model]
    counts = [row.pixels.shape[1] for row in rows]
    features = encoded.new_zeros(len(rows), max(counts), *encoded.shape[1:])
    for row, part in enumerate(encoded.split(counts)):
        features[row, : len(part)] = part
    return features


# One sample per row, for what is read per sample: the features of the controllers and the scores of the blocks.


def batches_by_length(engine: Engine, questions: Questions, tier: str, batch_size: int) -> list[list[int]]:
    """Indices of samples, in batches of similar prompt length so that little is padded."""
    samples, style = questions.samples, questions.style
    lengths = [engine.prompt_length(sample.open_image(), sample.question, style, tier) for sample in samples]
    order = sorted(range(len(samples)), key=lengths.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def run_shared(engine: Engine, rows: Sequence[ModelInputs]) -> tuple[PrefixState, KVCache]:
    """Vision and the fixed prefix of a batch."""
    model, batch = engine.model, collate(rows)
    features = encode_crops(engine, rows)
    prompt = model.embed(batch.input_ids.to(engine.device), features, batch.image_input_idx.to(engine.device))
    cache = model.new_cache(len(rows), prompt.shape[1] + engine.max_new_tokens)
    return model.run_prefix(prompt, batch.attention_mask.to(engine.device), cache), cache
