"""The study's ranking of the blocks: every dataset's scores together, and the order of removal by every rule."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from adamolmo.files.importance import (
    Agreement,
    BeamSearch,
    Blocks,
    BlockScores,
    DatasetImportance,
    Importance,
    InternalScores,
    Scores,
)
from adamolmo.importance.rules import INTERNAL_RULES
from adamolmo.knobs import BlockRanking


def merge(
    datasets: Mapping[str, DatasetImportance],
    *,
    model_checksum: str,
    num_blocks: int,
    selection: str,
    seed: int,
    internal: Mapping[str, InternalScores] | None = None,
    beam: BeamSearch | None = None,
) -> Importance:
    """The study's scores and removal order: every dataset of `score_blocks` counts alike.

    A removal order goes from the least important block to the most; of equal ones the later block is removed first.

    Args:
        selection: the rule that the study uses, as in the configuration.
        seed: of the rule "random".
        internal: results of `inner_scores.score_blocks_internally` by dataset; without them those rules have no order.
        beam: what `beam_search.search` found, if the study uses it.
    """
    parts: dict[str, Mapping[str, BlockScores]] = {"accuracy_drop": datasets}
    if internal:
        parts |= {rule: {name: internal[name].rules[rule] for name in datasets} for rule in INTERNAL_RULES}
    by_rule = {rule: _merge_rule(list(of_rule.values())) for rule, of_rule in parts.items()}
    orders = {rule: _ascending(merged.scores) for rule, merged in by_rule.items()}
    blocks = sorted(orders["accuracy_drop"])
    orders |= {
        "random": tuple(int(block) for block in np.random.default_rng(seed).permutation(blocks)),
        "prefix": tuple(blocks[::-1]),
    }
    return Importance(
        model_checksum=model_checksum,
        num_blocks=num_blocks,
        num_samples=sum(part.num_samples for part in datasets.values()),
        baseline_accuracy=float(np.mean([part.baseline_accuracy for part in datasets.values()])),
        scores=by_rule["accuracy_drop"].scores,
        selection=selection,
        removal_order=orders["accuracy_drop" if selection == "beam_search" else selection],
        removed_sets=beam.removed_sets if selection == "beam_search" else None,
        removal_orders=orders,
        spearman_between_halves=_between_halves(by_rule["accuracy_drop"]),
        agreement={
            rule: Agreement(between_halves=_between_halves(merged), between_datasets=_between_datasets(parts[rule]))
            for rule, merged in by_rule.items()
        },
        datasets=dict(datasets),
    )


def _merge_rule(parts: Sequence[BlockScores]) -> BlockScores:
    halves = tuple(_mean_scores([part.half_scores[half] for part in parts]) for half in (0, 1))
    return BlockScores(scores=_mean_scores([part.scores for part in parts]), half_scores=halves)


def _mean_scores(parts: Sequence[Scores]) -> Scores:
    return {block: float(np.mean([part[block] for part in parts])) for block in parts[0]}


def _ascending(scores: Scores) -> Blocks:
    return tuple(sorted(map(int, scores), key=lambda block: (scores[str(block)], -block)))


def _between_halves(merged: BlockScores) -> float | None:
    return spearman(*(list(half.values()) for half in merged.half_scores))


def _between_datasets(parts: Mapping[str, BlockScores]) -> dict[str, float | None]:
    return {
        f"{a}, {b}": spearman(*(list(parts[name].scores.values()) for name in (a, b)))
        for a, b in combinations(parts, 2)
    }


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; None when all values of one side are equal."""
    ranks = [rankdata(values) for values in (a, b)]
    if any(rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def rankings(scores: Importance, beam: BeamSearch) -> dict[str, BlockRanking]:
    """The ranking of every rule, the beam search included."""
    ranked = {rule: BlockRanking(scores.num_blocks, order) for rule, order in scores.removal_orders.items()}
    by_drop = scores.removal_orders["accuracy_drop"]
    return ranked | {"beam_search": BlockRanking(scores.num_blocks, by_drop, beam.removed_sets)}
