"""How much each block behind the fixed prefix matters: the accuracy that is lost when it is skipped.

The scores are made at the full tier and top_k; all ablations of a batch share vision and the prefix.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.data.samples import Sample, readable
from adamolmo.grid import answer_grid, batches_by_length
from adamolmo.knobs import DecoderKnobs
from adamolmo.progress import progress

if TYPE_CHECKING:
    from adamolmo.engine import Engine

Scorer = Callable[[str, Sequence[str]], float]


def score_blocks(
    engine: "Engine",
    samples: Sequence[Sample],
    style: str | None,
    scorer: Scorer,
    *,
    tier: str,
    batch_size: int,
    max_failed_fraction: float,
) -> dict:
    """Accuracy drops of one dataset.

    Returns:
        num_samples, baseline_accuracy, scores {block: drop}, half_scores (the drops on every other sample, twice) and
        failed [{sample_id, reason}].

    Raises AdaMolmoError when too many images are unreadable.
    """
    usable, failed = readable(samples, max_failed_fraction)
    settings = ablations(engine)
    accuracy = {block: np.zeros(len(usable)) for block in settings}
    batches = batches_by_length(engine, usable, style, tier, batch_size)
    for batch in progress(batches, "importance", len(batches)):
        rows = [engine.prepare(usable[i].open_image(), usable[i].question, style, tier) for i in batch]
        for block, answers in answer_grid(engine, rows, settings).items():
            for i, tokens in zip(batch, answers, strict=True):
                accuracy[block][i] = scorer(engine.decode_answer(tokens), usable[i].answers)
    baseline = accuracy.pop(None)
    halves = [slice(0, None, 2), slice(1, None, 2)] if len(usable) > 1 else [slice(None)] * 2
    return {
        "num_samples": len(usable),
        "baseline_accuracy": float(baseline.mean()),
        "scores": _drops(baseline, accuracy, slice(None)),
        "half_scores": [_drops(baseline, accuracy, half) for half in halves],
        "failed": failed,
    }


def ablations(engine: "Engine") -> dict[int | None, DecoderKnobs]:
    """The full model (None), and without each block behind the fixed prefix."""
    config, full = engine.model.config, engine.model.full_knobs
    without = {
        skipped: DecoderKnobs(full.top_k, tuple(block for block in full.blocks if block != skipped))
        for skipped in range(config.fixed_prefix_layers, config.num_layers)
    }
    return {None: full, **without}


def _drops(baseline: np.ndarray, accuracy: Mapping[int, np.ndarray], part: slice) -> dict[str, float]:
    return {str(block): float((baseline - ablated)[part].mean()) for block, ablated in accuracy.items()}


def merge(datasets: Mapping[str, dict], *, model_checksum: str, num_blocks: int) -> dict:
    """The study's scores: every dataset of `score_blocks` counts alike.

    The removal order goes from the least important block to the most; of equal ones the later block is removed first.
    """
    scores = _mean_scores([part["scores"] for part in datasets.values()])
    halves = [_mean_scores([part["half_scores"][half] for part in datasets.values()]) for half in (0, 1)]
    return {
        "model_checksum": model_checksum,
        "num_blocks": num_blocks,
        "num_samples": sum(part["num_samples"] for part in datasets.values()),
        "baseline_accuracy": float(np.mean([part["baseline_accuracy"] for part in datasets.values()])),
        "scores": scores,
        "removal_order": sorted(map(int, scores), key=lambda block: (scores[str(block)], -block)),
        "spearman_between_halves": spearman(list(halves[0].values()), list(halves[1].values())),
        "datasets": dict(datasets),
    }


def _mean_scores(parts: list[dict[str, float]]) -> dict[str, float]:
    return {block: float(np.mean([part[block] for part in parts])) for block in parts[0]}


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; None when all values of one side are equal."""
    ranks = [_ranks(np.asarray(values, dtype=float)) for values in (a, b)]
    if any(rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    below = (values[:, None] > values).sum(axis=1)
    equal = (values[:, None] == values).sum(axis=1)
    return below + (equal - 1) / 2
