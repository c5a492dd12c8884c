"""The page of examples shows what it says it shows, drawn by the seed, and loads nothing."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from adamolmo.errors import AdaMolmoError
from adamolmo.report.examples import page

TEMPLATE = Path(__file__).parents[3] / "workflow/report/examples.html.j2"
# Questions whose number is a multiple of 4 only the predictor gets right, of 6 only the table; 1 in 5 is late.
RIGHT = {"lookup-mean": lambda i: i % 4 > 0, "predict-overview": lambda i: i % 6 > 0 or i % 4 == 0}
NUMBER = 60


@pytest.fixture
def requests() -> pd.DataFrame:
    rows = []
    for dataset in ("okvqa", "text_vqa"):
        for controller, right in RIGHT.items():
            for i in range(NUMBER):
                disputed = len({found(i) for found in RIGHT.values()}) > 1
                late = i % 5 == 0
                names = {"dataset": dataset, "controller": controller, "budget": "60pct-p95", "budget_ms": 10.0}
                asked = {"sample_id": f"{i:03d}", "question": f"<what> is {i} ?", "answers": ["a", "a", "b"]}
                found = {"prediction": "a" if right(i) else "c", "right": right(i), "late": late, "disputed": disputed}
                times = {"vision_ms": 3.0, "prefill_ms": 3.0, "controller_ms": 1.0, "decode_ms": 5.0 if late else 2.0}
                rows.append({**names, **asked, **found, **times, "latency_ms": 12.0 if late else 9.0, "config": "low"})
    return pd.DataFrame(rows)


@pytest.fixture
def promises(requests) -> pd.DataFrame:
    return requests[["dataset", "controller", "budget"]].drop_duplicates().assign(broken=False)


TITLES = {"okvqa": "okvqa (drawn)", "text_vqa": "text_vqa (drawn)"}


@pytest.fixture
def pictures(requests) -> dict:
    file = io.BytesIO()
    Image.new("RGB", (900, 300), "red").save(file, "PNG")
    return {dataset: dict.fromkeys(rows["sample_id"], file.getvalue()) for dataset, rows in requests.groupby("dataset")}


def shown(html: str, place: str) -> list[int]:
    """Numbers of the questions in one part of the page."""
    part = html.split(f'<h2 id="{place}">')[1].split("<h2")[0]
    return [int(number) for number in re.findall(r"&lt;what&gt; is (\d+) \?", part)]


def test_examples_are_of_the_place_where_they_stand(requests, promises, pictures):
    broken = promises.assign(broken=(promises["dataset"] == "okvqa") & (promises["controller"] == "lookup-mean"))
    html = page(TEMPLATE, requests, broken, pictures, TITLES, seed=0)
    disputed, predicted, late, some = (shown(html, place) for place in ("disagree", "predicted", "broken", "any"))
    assert len(disputed) == len(predicted) == len(some) == 6  # three of each dataset
    assert all(RIGHT["lookup-mean"](i) != RIGHT["predict-overview"](i) for i in disputed)
    assert all(i % 4 == 0 for i in predicted)
    assert len(late) == 3 and all(i % 5 == 0 for i in late)
    assert "Budget 60 %, 95 in 100 on time: 10.0 ms" in html
    assert "okvqa (drawn), " in html
    assert "<b>a | b</b>" in html  # each reference once


def test_where_nobody_disagrees_and_nothing_broke_there_are_examples_yet(requests, promises, pictures):
    """As in a small study with one table."""
    alike = requests[requests["controller"] == "lookup-mean"].assign(disputed=False, late=False)
    html = page(TEMPLATE, alike, promises, pictures, TITLES, seed=0)
    assert [len(shown(html, place)) for place in ("disagree", "predicted", "broken", "any")] == [0, 0, 0, 6]


def test_the_page_says_where_nothing_broke(requests, promises, pictures):
    html = page(TEMPLATE, requests, promises, pictures, TITLES, seed=0)
    assert shown(html, "broken") == []
    assert "No promise was shown to be broken." in html


def test_the_seed_alone_decides_what_is_drawn(requests, promises, pictures):
    pages = [page(TEMPLATE, requests, promises, pictures, TITLES, seed) for seed in (0, 0, 1)]
    shuffled = page(TEMPLATE, requests.sample(frac=1, random_state=3), promises, pictures, TITLES, 0)
    assert pages[0] == pages[1] == shuffled
    assert shown(pages[0], "disagree") != shown(pages[2], "disagree")


def test_the_page_is_one_file_with_small_pictures(requests, promises, pictures):
    html = page(TEMPLATE, requests, promises, pictures, TITLES, seed=0)
    assert "default-src 'none'" in html and "<script" not in html and "http" not in html.replace("http-equiv", "")
    references = set(re.findall(r'(?:src|href)="([^"]*)"', html))
    assert {r for r in references if not r.startswith(("data:", "#"))} == {"report.html"}
    assert len(html) < 60_000


def test_an_unreadable_picture_is_one_sentence(requests, promises, pictures):
    broken = {dataset: dict.fromkeys(of, b"no picture") for dataset, of in pictures.items()}
    with pytest.raises(AdaMolmoError, match=r"sample '\d+': its image cannot be read"):
        page(TEMPLATE, requests, promises, broken, TITLES, seed=0)
