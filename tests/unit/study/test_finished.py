"""A finished study in Python: streams of requests, controllers of one's own, and faults in one sentence."""

import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

import adamolmo

ASK = "picture.png", "what is the number ?"


class Cheapest(adamolmo.Controller):
    name = "cheapest"

    def predict_stage1(self, inputs: adamolmo.Stage1Inputs) -> adamolmo.Decision:
        return adamolmo.Decision.of(adamolmo.KnobConfig("low", 2, 5))


class Curious(Cheapest):
    name = "curious"

    def reads(self, limit):
        return {"picture"}


def test_importing_the_package_loads_nothing_heavy():
    heavy = "torch", "pandas", "numpy", "PIL", "pydantic"
    code = f"import adamolmo, sys; assert adamolmo.__version__; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_shows_every_name():
    shown = subprocess.run(
        [sys.executable, "-c", "import adamolmo; help(adamolmo)"], capture_output=True, text=True, check=True
    ).stdout
    assert "study.answer(" in shown
    for name in adamolmo.__all__:
        assert f"class {name}" in shown
    assert set(adamolmo.__all__) <= set(dir(adamolmo))
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        adamolmo.Studdy  # noqa: B018


def test_requests_of_one_kind_are_one_stream(study):
    open_study = adamolmo.Study()
    first = open_study.answer(*ASK, "55pct-p95", "lookup-mean")
    second = open_study.answer(*ASK, "55pct-p95", "lookup-mean")
    elsewhere = open_study.answer(*ASK, "55pct-mean", "lookup-mean")
    again = adamolmo.Study().answer(*ASK, "55pct-p95", "lookup-mean")
    assert first.budget_ms == pytest.approx(2.2)
    assert first.late == (first.latency_ms > 2.2)
    assert len({first.margin, second.margin, elsewhere.margin}) == 3
    assert again == first
    assert open_study.answer(*ASK, "55pct", "lookup-mean").margin is None


def test_a_file_keeps_the_stream_from_one_process_to_the_next(study):
    """Whoever answered last, in this process or another."""
    one, other, whole = adamolmo.Study(), adamolmo.Study(), adamolmo.Study()
    stream = [s.answer(*ASK, "55pct-p95", "lookup-mean", state="stream.json") for s in (one, other, one)]
    assert stream == [whole.answer(*ASK, "55pct-p95", "lookup-mean") for _ in range(3)]


def test_pictures_may_be_files_bytes_or_images(study):
    open_study, path = adamolmo.Study(), study / "picture.png"
    answers = [
        open_study.answer(image, ASK[1], "9ms", "static-full") for image in (path, path.read_bytes(), Image.open(path))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert str(answers[0].config) == "high-k4-b7"


def test_a_controller_of_ones_own_stands_where_a_name_stands(study):
    open_study = adamolmo.Study()
    assert str(open_study.answer(*ASK, "55pct-mean", Cheapest()).config) == "low-k2-b5"
    assert open_study.predict("55pct", Cheapest()) == adamolmo.Decision("low", (2, 5))
    named = Cheapest()
    named.name = "lookup-mean"
    with pytest.raises(adamolmo.AdaMolmoError, match="name is 'lookup-mean'; expected a name that no other has"):
        open_study.predict("55pct", named)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: s.answer(3, "what ?", "9ms", "static-full"), "image is 3, of type int; expected a PIL image, the"),
        (lambda s: s.answer(b"no", "what ?", "9ms", "static-full"), "image of 2 bytes: cannot be read as an image"),
        (lambda s: s.answer("picture.png", None, "9ms", "static-full"), "question is None, of type NoneType; expect"),
        (lambda s: s.answer(*ASK, 60, "static-full"), "budget is 60, of type int; expected a text such as '60pct'"),
        (lambda s: s.answer(*ASK, "60", "static-full"), "'60' is not a budget"),
        (lambda s: s.answer(*ASK, "9ms", Cheapest), "of type ABCMeta; expected the name of a controller, or an"),
        (lambda s: s.answer(*ASK, "9ms", "lookup-men"), "did you mean 'lookup-mean'?"),
        (lambda s: s.answer(*ASK, "9ms", "static-full", "x"), "dataset is 'x'; expected one of okvqa"),
        (lambda s: s.answer(*ASK, "9ms-p95", "static-full", state=7), "state is 7, of type int; expected the path"),
        (lambda s: s.predict("9ms", "static-full", image="picture.png"), "image was given without question"),
        (lambda s: s.table("sumary"), "table is 'sumary'; expected one of summary, comparisons, "),
        (lambda s: s.answers(controller=["a"]), "controller is ['a'], of type list; expected a name, or None"),
        (lambda s: s.table(["summary"]), "table is ['summary'], of type list; expected one of summary, "),
        (
            lambda s: s.table("regret"),
            "regret.parquet: does not exist; expected a study whose controllers name the oracle",
        ),
        (lambda s: s.questions("../okvqa"), "dataset is '../okvqa'; this study's results have none."),
        (lambda s: s.answer("picture.png", " ", "9ms", "static-full"), "question is empty; expected a text."),
        (lambda s: s.predict("9ms", "hybrid"), "controller 'hybrid' was not trained in this study; trained are none."),
        (
            lambda s: s.answer(*ASK, "9ms", Curious()),
            "controller 'curious' reads '{'picture'}'; expected a set of some of size, question",
        ),
        (lambda s: adamolmo.Study("nowhere"), "nowhere: does not exist; expected the directory 'results'"),
        (lambda s: adamolmo.Study(pd.DataFrame()), "results is of type DataFrame; expected the path"),
        (lambda s: adamolmo.Study(config=[3]), "config is 3, of type int; expected the path of a configuration"),
    ],
)
def test_a_wrong_argument_is_one_sentence(study, call, sentence):
    with pytest.raises(adamolmo.AdaMolmoError) as raised:
        call(adamolmo.Study())
    assert sentence in str(raised.value)
