"""How much each block behind the fixed prefix matters, and in which order blocks are removed.

The study's own rule is the accuracy that is lost when a block alone is skipped, at the full tier and top_k. Other rules
are there to be compared with it: scores from inside the model (`inner_scores.py`), a random order, keeping the first
blocks, and a search over sets of blocks (`beam_search.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.data.samples import Sample, readable
from adamolmo.importance.inner_scores import internal_scores
from adamolmo.inference.grid import answer_samples
from adamolmo.inference.ranking import INTERNAL_RULES
from adamolmo.knobs import BlockRanking, DecoderKnobs

if TYPE_CHECKING:
    from adamolmo.inference.engine import Engine

Scorer = Callable[[str, Sequence[str]], float]

RULES = ("accuracy_drop", *INTERNAL_RULES, "random", "prefix", "beam_search")


def score_blocks(
    engine: "Engine",
    samples: Sequence[Sample],
    style: str | None,
    scorer: Scorer,
    *,
    tier: str,
    batch_size: int,
    memory_bytes: float = float("inf"),
    max_failed_fraction: float,
) -> dict:
    """Accuracy drops of one dataset.

    Returns:
        num_samples, baseline_accuracy, scores {block: drop}, half_scores (the drops on the questions about every other
        image, twice) and failed [{sample_id, reason}].

    Raises AdaMolmoError when too many images are unreadable.
    """
    usable, failed = readable(samples, max_failed_fraction)
    blocks = removable_blocks(engine)
    accuracy = accuracy_without(
        engine, usable, style, scorer, tier, [(), *((b,) for b in blocks)], batch_size, memory_bytes
    )
    baseline = accuracy[()]
    drops = np.stack([baseline - accuracy[block,] for block in blocks], axis=1)
    return {
        "num_samples": len(usable),
        "baseline_accuracy": float(baseline.mean()),
        **_describe(drops, blocks, usable),
        "failed": failed,
    }


def score_blocks_internally(
    engine: "Engine",
    samples: Sequence[Sample],
    style: str | None,
    *,
    tier: str,
    batch_size: int,
    max_failed_fraction: float,
) -> dict:
    """Scores of one dataset by the rules of `inner_scores.py`.

    Returns num_samples, rules {rule: {scores, half_scores}} and failed [{sample_id, reason}].

    Raises AdaMolmoError when too many images are unreadable.
    """
    usable, failed = readable(samples, max_failed_fraction)
    by_rule = internal_scores(engine, usable, style, tier, batch_size)
    blocks = removable_blocks(engine)
    return {
        "num_samples": len(usable),
        "rules": {rule: _describe(scores, blocks, usable) for rule, scores in by_rule.items()},
        "failed": failed,
    }


def removable_blocks(engine: "Engine") -> list[int]:
    config = engine.model.config
    return list(range(config.fixed_prefix_layers, config.num_layers))


def accuracy_without(
    engine: "Engine",
    samples: Sequence[Sample],
    style: str | None,
    scorer: Scorer,
    tier: str,
    removed_sets: Sequence[tuple[int, ...]],
    batch_size: int,
    memory_bytes: float = float("inf"),
) -> dict[tuple[int, ...], np.ndarray]:
    """Per set of removed blocks the score of every sample [samples], at the full top_k."""
    full = engine.model.full_knobs
    settings = {
        removed: DecoderKnobs(full.top_k, tuple(block for block in full.blocks if block not in removed))
        for removed in removed_sets
    }
    rows = {sample.sample_id: row for row, sample in enumerate(samples)}
    accuracy = {removed: np.zeros(len(samples)) for removed in settings}
    for entry in answer_samples(
        engine,
        samples,
        style,
        tier,
        settings,
        batch_size=batch_size,
        memory_bytes=memory_bytes,
        description=f"{len(settings)} sets of blocks",
    ):
        for removed, tokens in entry.tokens.items():
            score = scorer(engine.decode_answer(tokens), entry.sample.answers)
            accuracy[removed][rows[entry.sample.sample_id]] = score
    return accuracy


def _describe(scores: np.ndarray, blocks: Sequence[int], samples: Sequence[Sample]) -> dict:
    """Means of scores [samples, blocks] over all samples, and over two halves that share no image."""
    number = {image_id: n for n, image_id in enumerate(dict.fromkeys(sample.image_id for sample in samples))}
    odd = np.array([number[sample.image_id] % 2 for sample in samples], dtype=bool)
    halves = [~odd, odd] if odd.any() else [~odd, ~odd]
    return {"scores": _means(scores, blocks), "half_scores": [_means(scores[half], blocks) for half in halves]}


def _means(scores: np.ndarray, blocks: Sequence[int]) -> dict[str, float]:
    return {str(block): float(mean) for block, mean in zip(blocks, scores.mean(axis=0), strict=True)}


def merge(
    datasets: Mapping[str, dict],
    *,
    model_checksum: str,
    num_blocks: int,
    selection: str,
    seed: int,
    internal: Mapping[str, dict] | None = None,
    beam: Mapping | None = None,
) -> dict:
    """The study's scores and removal order: every dataset of `score_blocks` counts alike.

    A removal order goes from the least important block to the most; of equal ones the later block is removed first.

    Args:
        selection: the rule that the study uses, of RULES.
        seed: of the rule "random".
        internal: results of `score_blocks_internally` by dataset; without them those rules have no order.
        beam: what `beam_search.search` found, if the study uses it.
    """
    parts = {"accuracy_drop": datasets}
    if internal:
        parts |= {rule: {name: internal[name]["rules"][rule] for name in datasets} for rule in INTERNAL_RULES}
    by_rule = {rule: _merge_rule(list(of_rule.values())) for rule, of_rule in parts.items()}
    orders = {rule: _ascending(merged["scores"]) for rule, merged in by_rule.items()}
    blocks = sorted(orders["accuracy_drop"])
    orders |= {
        "random": [int(block) for block in np.random.default_rng(seed).permutation(blocks)],
        "prefix": blocks[::-1],
    }
    return {
        "model_checksum": model_checksum,
        "num_blocks": num_blocks,
        "num_samples": sum(part["num_samples"] for part in datasets.values()),
        "baseline_accuracy": float(np.mean([part["baseline_accuracy"] for part in datasets.values()])),
        "scores": by_rule["accuracy_drop"]["scores"],
        "selection": selection,
        "removal_order": orders["accuracy_drop" if selection == "beam_search" else selection],
        "removed_sets": beam["removed_sets"] if selection == "beam_search" else None,
        "removal_orders": orders,
        "spearman_between_halves": _between_halves(by_rule["accuracy_drop"]),
        "agreement": {
            rule: {
                "between_halves": _between_halves(merged),
                "between_datasets": {
                    f"{a}, {b}": spearman(*(list(parts[rule][name]["scores"].values()) for name in (a, b)))
                    for a, b in combinations(datasets, 2)
                },
            }
            for rule, merged in by_rule.items()
        },
        "datasets": dict(datasets),
    }


def _merge_rule(parts: Sequence[Mapping]) -> dict:
    halves = [_mean_scores([part["half_scores"][half] for part in parts]) for half in (0, 1)]
    return {"scores": _mean_scores([part["scores"] for part in parts]), "half_scores": halves}


def _mean_scores(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {block: float(np.mean([part[block] for part in parts])) for block in parts[0]}


def _ascending(scores: Mapping[str, float]) -> list[int]:
    return sorted(map(int, scores), key=lambda block: (scores[str(block)], -block))


def _between_halves(merged: Mapping) -> float | None:
    return spearman(*(list(half.values()) for half in merged["half_scores"]))


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


def rankings(scores: Mapping, beam: Mapping) -> dict[str, BlockRanking]:
    """The ranking of every rule, from the results of `merge` and of `beam_search.search`."""
    orders = {rule: tuple(order) for rule, order in scores["removal_orders"].items()}
    searched = tuple(map(tuple, beam["removed_sets"]))
    ranked = {rule: BlockRanking(scores["num_blocks"], order) for rule, order in orders.items()}
    return ranked | {"beam_search": BlockRanking(scores["num_blocks"], orders["accuracy_drop"], searched)}


def compare_rules(
    engine: "Engine",
    samples: Sequence[Sample],
    style: str | None,
    scorer: Scorer,
    rankings: Mapping[str, BlockRanking],
    *,
    tier: str,
    lowest_count: int,
    batch_size: int,
    memory_bytes: float = float("inf"),
    resamples: int,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracy against the number of blocks kept: {rule: {blocks: {value, low, high}}}, from `lowest_count` blocks up.

    Use samples that the rankings have not seen. Intervals are 95 % bootstrap intervals clustered by image.
    """
    from adamolmo.statistics.intervals import clustered_bootstrap

    num_blocks = engine.model.config.num_layers
    everything = set(range(num_blocks))
    removed = {
        (rule, count): tuple(sorted(everything - set(ranking.active(count))))
        for rule, ranking in rankings.items()
        for count in range(lowest_count, num_blocks + 1)
    }
    sets = sorted(set(removed.values()))
    accuracy = accuracy_without(engine, samples, style, scorer, tier, sets, batch_size, memory_bytes)
    images = np.array([sample.image_id for sample in samples])
    intervals = {
        blocks: vars(clustered_bootstrap(scores, images, resamples=resamples, seed=seed))
        for blocks, scores in accuracy.items()
    }
    return {
        rule: {str(count): intervals[removed[rule, count]] for count in range(lowest_count, num_blocks + 1)}
        for rule in rankings
    }
