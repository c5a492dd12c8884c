"""How much each block behind the fixed prefix matters: the accuracy that is lost when it alone is skipped.

This is the study's own rule, at the full tier and top_k. Other rules are there to be compared with it: scores from
inside the model (`inner_scores.py`), a random order, keeping the first blocks, and a search over sets of blocks
(`beam_search.py`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from adamolmo.data.samples import Questions
from adamolmo.files.documents import Failed
from adamolmo.files.importance import DatasetImportance
from adamolmo.importance.blocks import describe, removable_blocks
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import BatchLimits, answer_samples
from adamolmo.knobs import DecoderKnobs


def score_blocks(
    engine: Engine, questions: Questions, tier: str, limits: BatchLimits, failed: Sequence[Mapping]
) -> DatasetImportance:
    """Accuracy drops of one dataset.

    Args:
        failed: unreadable samples, {sample_id, reason}.
    """
    blocks = removable_blocks(engine)
    accuracy = accuracy_without(engine, questions, tier, [(), *((block,) for block in blocks)], limits)
    baseline = accuracy[()]
    drops = np.stack([baseline - accuracy[block,] for block in blocks], axis=1)  # [samples, blocks]
    return DatasetImportance(
        **dict(describe(drops, blocks, questions.samples)),
        num_samples=len(questions.samples),
        baseline_accuracy=float(baseline.mean()),
        failed=tuple(Failed(**entry) for entry in failed),
    )


def accuracy_without(
    engine: Engine, questions: Questions, tier: str, removed_sets: Sequence[tuple[int, ...]], limits: BatchLimits
) -> dict[tuple[int, ...], np.ndarray]:
    """Per set of removed blocks the score of every sample [samples], at the full top_k."""
    full = engine.backend.sizes.full_knobs
    variants = {
        removed: DecoderKnobs(full.top_k, tuple(block for block in full.blocks if block not in removed))
        for removed in removed_sets
    }
    rows = {sample.sample_id: row for row, sample in enumerate(questions.samples)}
    accuracy = {removed: np.zeros(len(rows)) for removed in variants}
    for entry in answer_samples(engine, questions, tier, variants, limits, f"{len(variants)} sets of blocks"):
        for removed, tokens in entry.tokens.items():
            score = questions.scorer(engine.backend.decode_answer(tokens), entry.sample.answers)
            accuracy[removed][rows[entry.sample.sample_id]] = score
    return accuracy
