"""Which blocks to remove together: a beam search over sets of blocks, scored by accuracy on all datasets."""

from collections.abc import Mapping, Sequence

import numpy as np

from adamolmo.data.samples import Questions
from adamolmo.files.importance import BeamSearch
from adamolmo.importance.accuracy_drop import accuracy_without
from adamolmo.importance.blocks import removable_blocks
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import BatchLimits
from adamolmo.progress import note


def search(
    engine: Engine,
    datasets: Mapping[str, Questions],
    *,
    tier: str,
    width: int,
    most_removed: int,
    limits: BatchLimits,
    model_checksum: str,
) -> BeamSearch:
    """From each of the `width` best sets of a size, every set with one block more is tried.

    Sets of one size are answered together, so that they share their common blocks.

    Args:
        datasets: questions by name; every dataset counts alike.
        model_checksum: of the engine's model.
    """
    blocks = removable_blocks(engine)

    def mean_accuracy(sets: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        scores = [accuracy_without(engine, questions, tier, sets, limits) for questions in datasets.values()]
        return {removed: float(np.mean([part[removed].mean() for part in scores])) for removed in sets}

    baseline = mean_accuracy([()])[()]
    beam: list[tuple[int, ...]] = [()]
    best, accuracies, sets_tried = [], [], 0
    for size in range(1, most_removed + 1):
        larger = {tuple(sorted({*removed, block})) for removed in beam for block in blocks if block not in removed}
        accuracy = mean_accuracy(sorted(larger))
        beam = sorted(accuracy, key=lambda removed: (-accuracy[removed], removed))[:width]
        best.append(beam[0])
        accuracies.append(accuracy[beam[0]])
        sets_tried += len(larger)
        note(
            f"beam search, {size} removed: {list(best[-1])}, accuracy {accuracies[-1]:.3f} (all blocks: {baseline:.3f})"
        )
    return BeamSearch(
        model_checksum=model_checksum,
        num_samples=sum(len(questions.samples) for questions in datasets.values()),
        baseline_accuracy=baseline,
        width=width,
        sets_tried=sets_tried,
        removed_sets=tuple(best),
        accuracies=tuple(accuracies),
    )
