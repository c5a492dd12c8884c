"""The blocks that may be removed, and how scores of them are told."""

from collections.abc import Sequence

import numpy as np

from adamolmo.data.samples import Sample
from adamolmo.files.importance import BlockScores, Scores
from adamolmo.inference.engine import Engine


def removable_blocks(engine: Engine) -> list[int]:
    sizes = engine.backend.sizes
    return list(range(sizes.fixed_prefix_layers, sizes.num_layers))


def describe(scores: np.ndarray, blocks: Sequence[int], samples: Sequence[Sample]) -> BlockScores:
    """Means of scores [samples, blocks] by block: over all samples (scores), and over the questions about every other
    image, twice (half_scores)."""
    number = {image_id: n for n, image_id in enumerate(dict.fromkeys(sample.image_id for sample in samples))}
    odd = np.array([number[sample.image_id] % 2 for sample in samples], dtype=bool)
    halves = [~odd, odd] if odd.any() else [~odd, ~odd]
    return BlockScores(
        scores=_means(scores, blocks), half_scores=tuple(_means(scores[half], blocks) for half in halves)
    )


def _means(scores: np.ndarray, blocks: Sequence[int]) -> Scores:
    return {str(block): float(mean) for block, mean in zip(blocks, scores.mean(axis=0), strict=True)}
