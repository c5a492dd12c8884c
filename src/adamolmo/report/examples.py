"""The page of requests to look at: picture, question, references, and what every controller made of them.

Drawn by the study's seed from four places: where the controllers disagree, where the baseline is wrong and a predictor
right, where a promise broke, and anywhere.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.budgets import Budget
from adamolmo.controllers.registry import PREDICTORS
from adamolmo.controllers.roles import ORACLE, baseline_of, heeds_budget, without_oracle
from adamolmo.data.images import read_image
from adamolmo.report.figures.style import in_order
from adamolmo.report.templates import render

PER_DATASET = 3  # examples of each place
PICTURE_PX = 280  # the longer side, at most
_REQUEST = ["dataset", "budget", "sample_id"]
_STAGES = ("vision_ms", "prefill_ms", "controller_ms", "decode_ms")


@dataclass(frozen=True)
class Place:
    """Where examples are drawn from.

    Attributes:
        requests: dataset, budget and sample_id of each that there is.
        nothing: what the page says where there is none.
    """

    name: str
    title: str
    about: str
    nothing: str
    requests: pd.DataFrame

    @property
    def number(self) -> int:
        return len(self.requests.drop_duplicates(_REQUEST))


def page(
    template: Path,
    requests: pd.DataFrame,
    promises: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    titles: Mapping[str, str],
    seed: int,
) -> str:
    """HTML, one file.

    Args:
        requests: all of the study, as `read_requests` gives them.
        promises: the table of that name.
        pictures: encoded images by dataset and sample_id.
        titles: what readers see of each dataset, by name.
    """
    requests = requests.assign(place=requests["controller"].map(in_order(requests["controller"]).index))
    by_request = dict(list(requests.sort_values("place").groupby(_REQUEST, observed=True)))
    places = [
        (place, [_example(by_request[key], pictures[key[0]][key[2]]) for key in _draw(place.requests, seed)])
        for place in _places(requests, promises)
    ]
    places.sort(key=lambda place: not place[1])  # what has no example is told last
    stages = [stage.removesuffix("_ms") for stage in _STAGES]
    return render(template, places=places, stages=stages, oracle=ORACLE, titles=titles)


def _places(requests: pd.DataFrame, promises: pd.DataFrame) -> list[Place]:
    asked = without_oracle(requests)
    baseline = baseline_of(asked["controller"])
    missed = asked[(asked["controller"] == baseline) & ~asked["right"]]
    found = asked[asked["controller"].isin(PREDICTORS) & asked["right"]]
    return [
        Place(
            "disagree",
            "Where the controllers disagree",
            "Some were right and others wrong, under the same budget.",
            "The controllers are right and wrong on the same questions.",
            asked[asked["disputed"]],
        ),
        Place(
            "predicted",
            f"Where {baseline} is wrong and a predictor right",
            "What is to be gained by deciding per request.",
            "There is no such request.",
            missed.merge(found[_REQUEST]),
        ),
        Place(
            "broken",
            "Where a promise broke",
            "Late requests of controllers that were shown to break what the budget promises.",
            "No promise was shown to be broken.",
            _late_where_broken(asked, promises),
        ),
        Place("any", "Any question", "As they come, one budget each.", "There is no request.", asked),
    ]


def _late_where_broken(asked: pd.DataFrame, promises: pd.DataFrame) -> pd.DataFrame:
    broken = promises.loc[promises["broken"], ["dataset", "controller", "budget"]]
    late = asked[asked["late"] & asked["controller"].map(heeds_budget).astype(bool)]
    return late.merge(broken.drop_duplicates())


def _draw(requests: pd.DataFrame, seed: int) -> list[tuple[str, str, str]]:
    """Up to PER_DATASET of each dataset, no question twice, in the order of _REQUEST."""
    drawn = []
    for _, of_dataset in requests[_REQUEST].drop_duplicates().sort_values(_REQUEST).groupby("dataset", observed=True):
        shuffled = of_dataset.iloc[np.random.default_rng(seed).permutation(len(of_dataset))]
        drawn += shuffled.drop_duplicates("sample_id").head(PER_DATASET).itertuples(index=False, name=None)
    return sorted(drawn)


def _example(rows: pd.DataFrame, picture: bytes) -> dict:
    """What the template shows of one question under one budget."""
    shared = ["dataset", "budget_ms", "sample_id", "question"]
    first = rows.iloc[0]
    return {
        **first[shared],
        "budget": Budget.parse(first["budget"]).label(),
        "references": list(dict.fromkeys(first["answers"])),  # ten annotators often agree
        "picture": _embedded(picture, first["sample_id"]),
        "longest_ms": max(rows["latency_ms"].max(), first["budget_ms"]),
        "rows": [{**row, "stages_ms": [row[stage] for stage in _STAGES]} for row in rows.to_dict("records")],
    }


def _embedded(picture: bytes, sample_id: str) -> str:
    """A small copy, as a data URL."""
    image = read_image(picture, f"sample '{sample_id}': its image cannot be read")
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
