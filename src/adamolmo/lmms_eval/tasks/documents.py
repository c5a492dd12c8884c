"""The study's own datasets as lmms-eval reads them: the columns of `files.samples`, scored as the study does."""

from adamolmo.data.scoring import vqa_score


def visuals(document: dict) -> list:
    return [document["image"]]


def question(document: dict, lmms_eval_specific_kwargs: dict | None = None) -> str:
    return document["question"]


def score(document: dict, results: list[str]) -> dict[str, float]:
    return {"accuracy": vqa_score(results[0], document["answers"])}
