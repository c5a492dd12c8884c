"""The unmodified stock tasks, end to end and offline, on documents whose scores can be worked out by hand."""

import json
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest

from adamolmo.controllers.governor import Governor
from adamolmo.controllers.table import LookupTable, load_table
from adamolmo.statistics.intervals import Resampling, cluster_weights, clustered_bootstrap

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")

from fabricated import (
    ANNOTATORS,
    LEAVE_ONE_OUT,
    MME_CATEGORIES,
    NUM_VQA,
    OPTIONS,
    RIGHT,
    TASKS,
    prepared,
    write_multiple_choice,
)

from adamolmo.controllers.lookup import LookupController
from adamolmo.lmms_eval.data import prepare
from adamolmo.lmms_eval.model import Setting
from adamolmo.lmms_eval.run import run_task

RESAMPLING = Resampling(200, seed=3)
COGNITION = "code_reasoning"


@pytest.fixture(scope="module")
def said(bench, unscored):
    """(task, document) -> what the model answers."""
    model = bench.model("lookup-mean", "60pct")
    for task in TASKS:
        run_task(model, task, unscored.path, None, RESAMPLING)
    return {key: answer.text for key, answer in model.answers.items()}


@pytest.fixture(scope="module")
def scored(bench, said, tmp_path_factory):
    """The same documents with references made from those answers, and what every task gives for them."""
    data = prepared(tmp_path_factory.mktemp("scored"), said)
    model = bench.model("lookup-mean", "60pct")
    results = {task: run_task(model, task, data.path, None, RESAMPLING) for task in TASKS}
    assert {key: answer.text for key, answer in model.answers.items()} == said
    return results


def value(result, metric: str) -> float:
    return result.metrics[metric].value


@pytest.mark.parametrize("task", ["textvqa_val", "ok_vqa_val2014", "vqav2_val"])
def test_vqa_accuracy(scored, said, task):
    by_hand = [LEAVE_ONE_OUT[ANNOTATORS[i]] for i in range(NUM_VQA)]
    assert value(scored[task], "exact_match") == pytest.approx(mean(by_hand))
    assert list(scored[task].metrics) == ["exact_match"]
    assert [json.loads(s)["exact_match"] for s in scored[task].answers["scores"]] == pytest.approx(by_hand)


def right(said, task: str) -> list[bool]:
    """Documents with another answer than yes or no are wrong, whatever the reference."""
    return [good and said[task, i] in ("yes", "no") for i, good in enumerate(RIGHT)]


def mme_by_hand(pairs: dict[int, tuple[bool, bool]], weights=None) -> dict[str, float]:
    """Per category the mean over pairs of 100 * (share right) + 100 * (both right); summed over categories."""
    scores = {"mme_perception_score": 0.0, "mme_cognition_score": 0.0}
    for category in set(MME_CATEGORIES):
        mine = [p for p in pairs if MME_CATEGORIES[p] == category for _ in range(1 if weights is None else weights[p])]
        points = [50 * sum(pairs[p]) + 100 * all(pairs[p]) for p in mine]
        if points:
            scores["mme_cognition_score" if category == COGNITION else "mme_perception_score"] += mean(points)
    return scores


def test_mme(scored, said):
    good = right(said, "mme")
    assert any(good), "the model says yes or no to no question: nothing is tested"
    expected = mme_by_hand({p: (good[2 * p], good[2 * p + 1]) for p in range(len(MME_CATEGORIES))})
    assert {metric: value(scored["mme"], metric) for metric in expected} == pytest.approx(expected)


def test_pope(scored, said):
    answers = [said["pope", i] for i in range(len(RIGHT))]
    good = right(said, "pope")
    assert any(good), "the model says yes or no to no question: nothing is tested"
    truth = [a if g else ("no" if a == "yes" else "yes") for a, g in zip(answers, good, strict=True)]
    yes_yes = sum(a == t == "yes" for a, t in zip(answers, truth, strict=True))
    said_yes, said_no_wrongly = (
        answers.count("yes"),
        sum(a == "no" and t == "yes" for a, t in zip(answers, truth, strict=True)),
    )
    precision = yes_yes / said_yes if said_yes else 0
    recall = yes_yes / (yes_yes + said_no_wrongly) if yes_yes + said_no_wrongly else 0
    expected = {
        "pope_accuracy": mean(good),
        "pope_precision": precision,
        "pope_recall": recall,
        "pope_f1_score": 2 * precision * recall / (precision + recall) if precision + recall else 0,
        "pope_yes_ratio": truth.count("yes") / len(truth),
    }
    assert {metric: value(scored["pope"], metric) for metric in expected} == pytest.approx(expected)


def test_two_questions_on_an_image_are_one_cluster(scored):
    for result in scored.values():
        assert (result.answers["image_id"].value_counts() == 2).all()


def test_interval_of_a_mean(scored):
    """Equal to the study's own bootstrap, clustered by image."""
    result = scored["textvqa_val"]
    scores = [json.loads(s)["exact_match"] for s in result.answers["scores"]]
    expected = clustered_bootstrap(scores, result.answers["image_id"].to_numpy(), resampling=RESAMPLING)
    found = result.metrics["exact_match"]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low < found.high


def test_interval_of_mme(scored, said):
    """Every resample of MME is what the pictures drawn give by hand, a picture drawn twice counting twice."""
    result, good = scored["mme"], right(said, "mme")
    pairs = {p: (good[2 * p], good[2 * p + 1]) for p in range(len(MME_CATEGORIES))}
    perceived = [p for p in pairs if MME_CATEGORIES[p] != COGNITION]
    documents = [i for p in perceived for i in (2 * p, 2 * p + 1)]
    images = result.answers["image_id"].to_numpy()[documents]
    expected = []
    for times in np.concatenate(list(cluster_weights(images, RESAMPLING))):
        weights = dict.fromkeys(pairs, 0) | {p: int(times[2 * place]) for place, p in enumerate(perceived)}
        expected.append(mme_by_hand(pairs, weights)["mme_perception_score"])
    assert result.resampled["mme_perception_score"] == pytest.approx(expected)
    assert result.metrics["mme_perception_score"].low == pytest.approx(np.quantile(expected, 0.025))


def test_every_pope_metric_has_an_interval(scored):
    for found in scored["pope"].metrics.values():
        assert found.no_interval is None
        assert found.low <= found.value <= found.high


def test_every_request_is_kept(scored):
    for result in scored.values():
        table = result.answers
        stages = table[["vision_ms", "prefill_ms", "controller_ms", "decode_ms"]].sum(axis=1)
        assert (abs(stages / table["latency_ms"] - 1) < 0.01).all()
        assert (table["input_tokens"] > table["num_crops"]).all()


def test_two_budgets_with_one_loaded_model(bench, unscored):
    """The second budget is answered anew, with other knobs; lmms-eval's clean-up leaves the model usable."""
    table = load_table(bench.study.path("results/lookup/mean/coco_2014_vqa.json"))
    rising = LookupTable([replace(entry, accuracy=entry.latency_ms) for entry in table.entries])
    controller, costs = LookupController("lookup-mean", rising, 0.0), [entry.latency_ms for entry in table.entries]
    model, asked = bench.model("static-full", "60pct"), {}
    for budget_ms in (min(costs), max(costs)):
        model.setting = lambda task, budget_ms=budget_ms: Setting(controller, Governor(budget_ms))
        run_task(model, "textvqa_val", unscored.path, None, RESAMPLING)
        asked[budget_ms] = dict(model.answers)
    cheap, dear = asked.values()
    assert cheap.keys() == dear.keys()
    for key in cheap:
        assert cheap[key].response.config != dear[key].response.config
        assert cheap[key].response.stages.total_ms < dear[key].response.stages.total_ms
        assert (cheap[key].budget_ms, dear[key].budget_ms) == (min(costs), max(costs))


def test_multiple_choice(bench, tmp_path):
    """MMBench writes files when it aggregates, so its mean over documents is resampled; ScienceQA is a plain mean."""
    write_multiple_choice(tmp_path / "hub")
    for task in ("mmbench_en_dev_static", "scienceqa_img"):
        prepare(task, tmp_path / "hub", tmp_path / task)
    model = bench.model("static-full", "60pct")
    mmbench = run_task(model, "mmbench_en_dev_static", tmp_path, None, RESAMPLING)
    hits = []
    for i, said in enumerate(mmbench.answers["prediction"]):
        named = [letter for letter, option in OPTIONS.items() if option in said]
        hits.append(named == [list(OPTIONS)[i % len(OPTIONS)]])
    found = mmbench.metrics["gpt_eval_score"]
    assert found.value == pytest.approx(100 * mean(hits))
    expected = clustered_bootstrap(hits, mmbench.answers["image_id"].to_numpy(), resampling=RESAMPLING)
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high))

    scienceqa = run_task(model, "scienceqa_img", tmp_path, None, RESAMPLING)
    letters = [said.upper() == list(OPTIONS)[i % 4] for i, said in enumerate(scienceqa.answers["prediction"])]
    assert value(scienceqa, "exact_match") == pytest.approx(mean(letters))
    assert all("A. yes" in prompt for prompt in scienceqa.answers["prompt"])


def test_limit(bench, unscored):
    result = run_task(bench.model("static-full", "60pct"), "pope", unscored.path, 6, RESAMPLING)
    assert list(result.answers["doc_id"]) == list(range(6))


def test_generation_settings(bench, unscored):
    """The study's limit where the task has none (textvqa), the task's where it has one (mme: 16)."""
    model = bench.model("static-full", "60pct")
    for task in ("textvqa_val", "mme"):
        run_task(model, task, unscored.path, 2, RESAMPLING)
    longest = bench.settings.max_new_tokens
    assert max(answer.response.output_tokens for (task, _), answer in model.answers.items() if task != "mme") <= longest
    assert model.engine.max_new_tokens == longest
