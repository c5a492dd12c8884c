"""The requests of evaluated cells as one looks at them: every answer beside its question and its references."""

from pathlib import Path

import pandas as pd

from adamolmo.controllers.roles import without_oracle
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.serving import tpot_ms, ttft_ms
from adamolmo.files.columns import KNOBS
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.knobs import KnobConfig

RIGHT_FROM = 0.5  # the score from which an answer is called right
CELL = ["dataset", "controller", "budget"]


def read_requests(
    results: Path,
    summary: pd.DataFrame,
    dataset: str | None = None,
    controller: str | None = None,
    budget: str | None = None,
) -> pd.DataFrame:
    """The requests of all cells of `summary` that have these names; None: whatever the name.

    Returns one row per request: the cell's names and budget_ms, `question`, `answers` (the references), what
    `with_questions` adds, `disputed` (whether some controllers were right here and others wrong; the oracle is none),
    and the other columns of the table `evaluation`.

    Raises AdaMolmoError when the summary has no such cell, or a file is unusable.
    """
    named = {"dataset": dataset, "budget": budget}
    for column, value in {**named, "controller": controller}.items():
        if value is not None and value not in set(summary[column]):
            known = ", ".join(summary[column].astype(str).unique())
            raise AdaMolmoError(f"{column} is '{value}'; this study's results have {known}.")
    cells = summary
    for column, value in named.items():
        cells = cells if value is None else cells[cells[column] == value]
    table = pd.concat([_read_cell(results, *row) for row in cells[[*CELL, "budget_ms"]].itertuples(index=False)])
    question = ["dataset", "budget", "sample_id"]
    right = without_oracle(table).groupby(question, observed=True)["right"].agg(["min", "max"])
    table = table.join((right["min"] != right["max"]).rename("disputed"), on=question)
    table["disputed"] = table["disputed"].eq(True)  # nobody disputes where the oracle is alone
    return table[(controller is None) | (table["controller"] == controller)].reset_index(drop=True)


def read_questions(results: Path, dataset: str) -> pd.DataFrame:
    """sample_id, question and answers of the questions that controllers are judged on."""
    return read_table(_samples(results, dataset), SAMPLES, ["sample_id", "question", "answers"])[0]


def read_pictures(results: Path, dataset: str) -> dict[str, bytes]:
    """The encoded images of the same questions, by sample_id."""
    return read_table(_samples(results, dataset), SAMPLES, ["sample_id", "image"])[0].set_index("sample_id")["image"]


def with_questions(
    rows: pd.DataFrame, questions: pd.DataFrame, dataset: str, controller: str, budget: str, budget_ms: float
) -> pd.DataFrame:
    """Rows of the table `evaluation` of one cell, beside their questions; in addition `config` (the knobs as they are
    written), `right` (a score of at least RIGHT_FROM), `late`, and `ttft_ms` and `tpot_ms` of `serving.py`."""
    of_cell = {"dataset": dataset, "controller": controller, "budget": budget, "budget_ms": budget_ms}
    knobs = zip(*(rows[knob] for knob in KNOBS), strict=True)
    table = rows.merge(questions, on="sample_id", how="left", validate="one_to_one").assign(
        **of_cell,
        ttft_ms=ttft_ms(rows).to_numpy(),
        tpot_ms=tpot_ms(rows, rows["output_tokens"]).to_numpy(),
        config=[str(KnobConfig(*values)) for values in knobs],
        right=rows["accuracy"].to_numpy() >= RIGHT_FROM,
        late=~rows["budget_met"].to_numpy(bool),
    )
    first = [*of_cell, "sample_id", "image_id", "question", "answers", "prediction", "accuracy", "right", "late"]
    first += ["config", "latency_ms", "ttft_ms", "tpot_ms"]
    return table[[*first, *(column for column in table if column not in first)]]


def _read_cell(results: Path, dataset: str, controller: str, budget: str, budget_ms: float) -> pd.DataFrame:
    path = results / "eval" / dataset / controller / f"{budget}.parquet"
    rows, questions = read_table(path, EVALUATION)[0], read_questions(results, dataset)
    if unknown := set(rows["sample_id"]) - set(questions["sample_id"]):
        raise AdaMolmoError(
            f"{path}: answers question '{min(unknown)}'; {_samples(results, dataset)} has no question of that name."
        )
    return with_questions(rows, questions, dataset, controller, budget, budget_ms)


def _samples(results: Path, dataset: str) -> Path:
    return results / "data" / dataset / "evaluation.parquet"
