"""Answers are shown beside their own question, whatever the order of the files, and disputes are found."""

import pandas as pd
import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.requests import read_pictures, read_requests
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table

# Controller -> the scores of questions q0, q1, q2 and their latencies.
SCORES = {"lookup-mean": (1.0, 0.3, 0.0), "predict-overview": (1.0, 0.6, 0.0), "oracle": (1.0, 1.0, 1.0)}
LATENCY_MS = (9.0, 11.0, 10.0)


@pytest.fixture
def results(tmp_path):
    questions = [f"q{i}" for i in range(3)]
    shared = {"image_id": "i", "answers": [["yes"]] * 3}
    samples = pd.DataFrame({"sample_id": questions, "question": [f"what is {q} ?" for q in questions], **shared})
    samples["image"] = [q.encode() for q in questions]
    write_table(samples, tmp_path / "data/okvqa/evaluation.parquet", SAMPLES)
    for controller, scores in SCORES.items():
        for budget in ("10ms", "20ms-mean"):
            write_table(cell(scores, 10.0), tmp_path / "eval/okvqa" / controller / f"{budget}.parquet", EVALUATION)
    return tmp_path


def cell(scores: tuple[float, ...], budget_ms: float) -> pd.DataFrame:
    rows = pd.DataFrame({"sample_id": ["q0", "q1", "q2"], "accuracy": scores, "latency_ms": LATENCY_MS})
    rows["budget_met"] = rows["latency_ms"] <= budget_ms
    of_type = {"text": "low", "bool": True}
    given = {name: of_type.get(column.type, 4) for name, column in EVALUATION.columns.items() if name not in rows}
    return rows.assign(**given)


@pytest.fixture
def summary() -> pd.DataFrame:
    cells = [("okvqa", name, budget) for name in SCORES for budget in ("10ms", "20ms-mean")]
    return pd.DataFrame(cells, columns=["dataset", "controller", "budget"]).assign(budget_ms=10.0)


def test_every_answer_stands_beside_its_question(results, summary):
    rows = read_requests(results, summary)
    assert len(rows) == 3 * len(summary)
    assert (rows["question"] == "what is " + rows["sample_id"] + " ?").all()
    one = read_requests(results, summary, "okvqa", "lookup-mean", "10ms")
    assert one["right"].tolist() == [True, False, False]
    assert one["late"].tolist() == [False, True, False]
    assert one["config"].tolist() == ["low-k4-b4"] * 3
    assert one["answers"].tolist() == [["yes"]] * 3
    assert read_pictures(results, "okvqa")["q1"] == b"q1"


def test_a_request_is_disputed_where_controllers_differ_and_the_oracle_is_none(results, summary):
    for controller in SCORES:
        rows = read_requests(results, summary, controller=controller)
        assert rows.groupby("sample_id")["disputed"].agg(list).to_dict() == {
            "q0": [False, False],
            "q1": [True, True],
            "q2": [False, False],
        }


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"dataset": "x"}, "dataset is 'x'; this study's results have okvqa."),
        ({"controller": "x"}, "controller is 'x'; this study's results have lookup-mean, predict-overview, oracle."),
        ({"budget": "9ms"}, "budget is '9ms'; this study's results have 10ms, 20ms-mean."),
    ],
)
def test_a_cell_that_is_not_there_is_one_sentence(results, summary, names, sentence):
    with pytest.raises(AdaMolmoError) as raised:
        read_requests(results, summary, **names)
    assert str(raised.value) == sentence


def test_answers_to_unknown_questions_are_one_sentence(results, summary):
    path = results / "data/okvqa/evaluation.parquet"
    write_table(pd.read_parquet(path).iloc[1:], path, SAMPLES)
    with pytest.raises(AdaMolmoError, match=r"lookup-mean/10ms.parquet: answers question 'q0'; .* has no question of"):
        read_requests(results, summary)
