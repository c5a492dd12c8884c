from typing import get_args

import pytest
from made_documents import beam_search, rewrite

from adamolmo.config.profiling import SelectionRule
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import write_json
from adamolmo.files.importance import BlockScores, DatasetImportance, InternalScores
from adamolmo.importance.merge import merge, spearman
from adamolmo.importance.rules import INTERNAL_RULES
from adamolmo.inference.ranking import load_ranking


def dataset_scores(scores, baseline, halves):
    def named(values):
        return dict(zip(("3", "4", "5"), values, strict=True))

    return DatasetImportance(
        num_samples=10,
        baseline_accuracy=baseline,
        scores=named(scores),
        half_scores=tuple(named(half) for half in halves),
        failed=(),
    )


def merged_of(datasets, selection="accuracy_drop", **settings):
    norms = {"3": 3.0, "4": 1.0, "5": 2.0}
    rules = dict.fromkeys(INTERNAL_RULES, BlockScores(scores=norms, half_scores=(norms, norms)))
    internal = {name: InternalScores(num_samples=10, rules=rules, failed=()) for name in datasets}
    settings = {"internal": internal} | settings
    return merge(datasets, model_checksum="abc", num_blocks=6, selection=selection, seed=0, **settings)


def test_merge_against_hand_computed_values():
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0], [0.0, 0.2, 0.0]])
    b = dataset_scores([0.3, 0.1, 0.2], 0.6, [[0.3, 0.1, 0.0], [0.2, 0.2, 0.0]])
    merged = merged_of({"a": a, "b": b})
    assert merged.scores == pytest.approx({"3": 0.2, "4": 0.2, "5": 0.1})
    assert merged.removal_order == (5, 4, 3)
    assert merged.baseline_accuracy == pytest.approx(0.7)
    assert merged.num_samples == 20
    # Halves: (.2, .2, 0) against (.1, .2, 0): mean ranks (1.5, 1.5, 0) and (1, 2, 0).
    assert merged.spearman_between_halves == pytest.approx(0.8660254)
    assert merged.agreement["accuracy_drop"].between_halves == merged.spearman_between_halves
    # Ranks (2, 3, 1) and (3, 1, 2).
    assert merged.agreement["accuracy_drop"].between_datasets == {"a, b": pytest.approx(-0.5)}
    assert merged.agreement["activation_norm"].between_halves == pytest.approx(1.0)


def test_every_rule_has_its_order_and_one_is_used():
    parts = {"a": dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0]] * 2)}
    orders = merged_of(parts).removal_orders
    assert (orders["accuracy_drop"], orders["activation_norm"], orders["prefix"]) == ((5, 3, 4), (4, 5, 3), (5, 4, 3))
    assert sorted(orders["random"]) == [3, 4, 5]
    for rule, order in orders.items():
        merged = merged_of(parts, rule)
        assert (merged.selection, merged.removal_order, merged.removed_sets) == (rule, order, None)
    assert merged_of(parts, internal=None).removal_orders.keys() == {"accuracy_drop", "random", "prefix"}
    searched = merged_of(parts, "beam_search", beam=beam_search((4,), (3, 5)))
    assert (searched.removal_order, searched.removed_sets) == ((5, 3, 4), ((4,), (3, 5)))
    assert {*orders, "beam_search"} == set(get_args(SelectionRule))


def test_spearman():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert spearman([1, 1], [2, 3]) is None


def test_ranking_round_trip_and_refusals(tmp_path):
    a = dataset_scores([0.1, 0.3, 0.0], 0.8, [[0.1, 0.3, 0.0]] * 2)
    path = tmp_path / "scores.json"
    write_json(merged_of({"a": a}), path)
    ranking = load_ranking(path, "abc", 6)
    assert ranking.active(4) == (0, 1, 2, 4)
    assert ranking.active(6) == (0, 1, 2, 3, 4, 5)
    with pytest.raises(AdaMolmoError, match="belong to another model"):
        load_ranking(path, "other", 6)
    with pytest.raises(AdaMolmoError, match="expected checksum abc and 7 blocks"):
        load_ranking(path, "abc", 7)
    rewrite(path, removal_order=[5, 5])
    with pytest.raises(AdaMolmoError, match=r"removal_order is \[5, 5\]"):
        load_ranking(path, "abc", 6)
    write_json(merged_of({"a": a}, "beam_search", beam=beam_search((4,), (3, 5))), path)
    searched = load_ranking(path, "abc", 6)
    assert (searched.active(6), searched.active(5)) == ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5))
    assert searched.active(4) == (0, 1, 2, 4)
    with pytest.raises(AdaMolmoError, match="num_active_blocks is 3; this model takes 4 to 6"):
        searched.active(3)
    write_json(merged_of({"a": a}, "beam_search", beam=beam_search((4,), (3, 3))), path)
    with pytest.raises(AdaMolmoError, match=r"removed_sets\[1\] is \[3, 3\]; expected 2 different removable blocks"):
        load_ranking(path, "abc", 6)
    path.write_text("{")
    with pytest.raises(AdaMolmoError, match="scores.json: cannot be read as the JSON document importance"):
        load_ranking(path, "abc", 6)
