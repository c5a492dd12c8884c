"""What each ranking of the blocks is worth: accuracy against the number of blocks kept."""

from collections.abc import Mapping

import numpy as np

from adamolmo.data.samples import Questions
from adamolmo.importance.accuracy_drop import accuracy_without
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import BlockRanking
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling, clustered_bootstrap


def compare_rules(
    engine: Engine,
    questions: Questions,
    rankings: Mapping[str, BlockRanking],
    *,
    tier: str,
    lowest_count: int,
    limits: BatchLimits,
    resampling: Resampling,
) -> dict[str, dict[str, Interval]]:
    """{rule: {blocks: accuracy}}, from `lowest_count` blocks up.

    Use samples that the rankings have not seen. Intervals are 95 % bootstrap intervals clustered by image.
    """
    num_blocks = engine.backend.sizes.num_layers
    everything = set(range(num_blocks))
    removed = {
        (rule, count): tuple(sorted(everything - set(ranking.active(count))))
        for rule, ranking in rankings.items()
        for count in range(lowest_count, num_blocks + 1)
    }
    accuracy = accuracy_without(engine, questions, tier, sorted(set(removed.values())), limits)
    images = np.array([sample.image_id for sample in questions.samples])
    intervals = {
        blocks: clustered_bootstrap(scores, images, resampling=resampling) for blocks, scores in accuracy.items()
    }
    return {
        rule: {str(count): intervals[removed[rule, count]] for count in range(lowest_count, num_blocks + 1)}
        for rule in rankings
    }
