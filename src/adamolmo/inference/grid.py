"""Answers with many variants of the knobs for many samples, with the work that they have in common done once.

- An image is seen once per tier, and where the model can keep questions apart its tokens pass each block once for all
  questions about it.
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

from adamolmo.backend.interface import Prompt
from adamolmo.data.samples import Questions, Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.engine import Engine
from adamolmo.knobs import DecoderKnobs
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
    sized = [(*_group_size(engine, group, questions.style, tier), group) for group in by_image.values()]
    sized.sort(key=lambda entry: entry[0])
    batches: list[list[list[Sample]]] = []
    num_samples = 0
    for tokens, num_crops, group in sized:  # the longest of a batch comes last
        room = limits.memory_bytes / _group_bytes(engine, num_crops, tokens, len(group))
        if not batches or num_samples + len(group) > limits.size or len(batches[-1]) + 1 > room:
            batches.append([])
            num_samples = 0
        batches[-1].append(group)
        num_samples += len(group)
    return batches


def _group_size(engine: Engine, group: Sequence[Sample], style: str | None, tier: str) -> tuple[int, int]:
    """Tokens and crops that an image with its questions adds to a batch."""
    questions = [engine.backend.read_question(sample.question, style) for sample in group]
    num_crops, tokens = engine.backend.group_size(group[0].open_image(), questions, engine.known_tier(tier))
    return tokens, num_crops


def _group_bytes(engine: Engine, num_crops: int, tokens: int, questions: int) -> int:
    """Memory of one image in a batch: a request's activations and cache, the tree's hidden states, two masks."""
    costs, sizes = engine.backend.costs, engine.backend.sizes
    new_tokens = questions * engine.max_new_tokens
    request = costs.memory_bytes(num_crops, tokens, new_tokens, sizes.top_k) - costs.num_weights() * costs.element_bytes
    branches = (sizes.num_layers - sizes.fixed_prefix_layers) * tokens * sizes.d_model * costs.element_bytes
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
        Answered(sample, prompt.num_crops, prompt.num_tokens, tokens)
        for group, prompts, answered in zip(groups, prepared, answers, strict=True)
        for sample, prompt, tokens in zip(group, prompts, answered, strict=True)
    ]


def prepare_group(engine: Engine, group: Sequence[Sample], style: str | None, tier: str) -> list[Prompt]:
    """Prompts of samples that have one image in common, which is processed once."""
    questions = [engine.backend.read_question(sample.question, style) for sample in group]
    return engine.backend.prepare(group[0].open_image(), questions, engine.known_tier(tier), engine.room)


def answer_grid(
    engine: Engine, groups: Sequence[Sequence[Prompt]], variants: Mapping[Key, DecoderKnobs]
) -> list[list[dict[Key, list[int]]]]:
    """Per image and question the answer of every variant; each group of prompts has its image in common."""
    walk = _Walk(engine, groups)
    for top_k in sorted({knobs.top_k for knobs in variants.values()}):
        branch = {key: knobs for key, knobs in variants.items() if knobs.top_k == top_k}
        walk.descend(walk.batch.hidden, engine.backend.sizes.fixed_prefix_layers, branch)
    return walk.answers


class _Walk:
    """One batch on its way through the tree of variants.

    The batch remembers of each block what it was run on last: what a branch does not share with the one before, it runs
    itself.
    """

    def __init__(self, engine: Engine, groups: Sequence[Sequence[Prompt]]):
        self.num_layers, self.max_new_tokens = engine.backend.sizes.num_layers, engine.max_new_tokens
        self.batch = engine.backend.open_batch(groups, engine.max_new_tokens)
        self.answers: list[list[dict]] = [[{} for _ in group] for group in groups]

    def descend(self, hidden: Tensor, block: int, branch: Mapping[Key, DecoderKnobs]) -> None:
        """Answers the variants of `branch`, all of which ran the same blocks before `block`, which left `hidden`."""
        if block == self.num_layers:
            answers = self.batch.generate(hidden, next(iter(branch.values())), self.max_new_tokens)
            for image, of_image in enumerate(answers):
                for question, tokens in enumerate(of_image):
                    self.answers[image][question].update(dict.fromkeys(branch, tokens))
            return
        running = {key: knobs for key, knobs in branch.items() if block in knobs.blocks}
        skipping = {key: knobs for key, knobs in branch.items() if block not in knobs.blocks}
        if skipping:
            self.descend(hidden, block + 1, skipping)
        if running:
            top_k = next(iter(running.values())).top_k
            self.descend(self.batch.block(hidden, block, top_k), block + 1, running)


def num_block_runs(variants: Sequence[DecoderKnobs], fixed_prefix_layers: int) -> int:
    """Blocks behind the prefix that one batch runs for all variants: distinct (top_k, executed blocks so far)."""
    adaptive = [(knobs.top_k, knobs.behind(fixed_prefix_layers)) for knobs in variants]
    return len({(top_k, *blocks[: end + 1]) for top_k, blocks in adaptive for end in range(len(blocks))})


def batches_by_length(engine: Engine, questions: Questions, tier: str, batch_size: int) -> list[list[int]]:
    """Indices of samples, in batches of similar prompt length so that little is padded; for what is read per sample:
    the features of the controllers and the scores of the blocks."""
    samples, backend = questions.samples, engine.backend
    questions_read = [backend.read_question(sample.question, questions.style) for sample in samples]
    lengths = [
        backend.prompt_size(sample.open_image(), question, engine.known_tier(tier))[1]
        for sample, question in zip(samples, questions_read, strict=True)
    ]
    order = sorted(range(len(samples)), key=lengths.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
