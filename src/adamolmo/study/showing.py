"""Requests of one cell as text: what was asked, what was answered, with which knobs, and where the time went."""

from collections.abc import Sequence

import pandas as pd

from adamolmo.errors import AdaMolmoError, printable
from adamolmo.evaluation.serving import in_words
from adamolmo.files.evaluation import StageMeans

_WORDS = {"wrong": "wrong", "late": "late", "disputed": "disputed by the controllers"}


def show_requests(answers: pd.DataFrame, wanted: Sequence[str], number: int) -> str:
    """The first `number` requests of one cell that are all of `wanted`: "wrong", "late", "disputed".

    Args:
        answers: the cell's rows of `Study.answers`.

    Raises AdaMolmoError when `number` is not positive.
    """
    if number < 1:
        raise AdaMolmoError(f"--number is {number}; expected at least 1.")
    chosen = answers.assign(wrong=~answers["right"]).sort_values("request")
    for name in wanted:
        chosen = chosen[chosen[name]]
    first = answers.iloc[0]
    cell = "/".join((first["dataset"], first["controller"], first["budget"]))
    counted = f"{len(chosen)} of {len(answers)} requests"
    counted += f" are {' and '.join(_WORDS[name] for name in wanted)}" if wanted else ""
    shown = f", the first {number}:" if len(chosen) > number else ":" if len(chosen) else "."
    return "\n\n".join([f"{cell}: {counted}{shown}", *map(_request, chosen.head(number).to_dict("records"))])


def _request(row: dict) -> str:
    times = ", ".join(
        f"{stage.removesuffix('_ms')} {row[stage]:.2f}" for stage in StageMeans.model_fields if stage != "preprocess_ms"
    )
    references = dict.fromkeys(row["answers"])  # ten annotators often agree
    lines = {
        "request": f"{row['request']} ({row['sample_id']}, image {row['image_id']})",
        "question": row["question"],
        "reference": " | ".join(references),
        "answer": f"{row['prediction']}   ({'right' if row['right'] else 'wrong'}, score {row['accuracy']:.2f})",
        "knobs": row["config"],
        "latency": f"{row['latency_ms']:.2f} ms of {row['budget_ms']:.2f} ms, {'late' if row['late'] else 'on time'} "
        f"({times})",
        "serving": in_words(row["ttft_ms"], row["tpot_ms"], row["energy_j"]),
        "controllers": "some right, some wrong" if row["disputed"] else "all right" if row["right"] else "all wrong",
    }
    return "\n".join(f"{name:<12} {printable(text)}" for name, text in lines.items())
