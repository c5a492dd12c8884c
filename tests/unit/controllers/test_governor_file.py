"""The state of a stream of requests between processes."""

import pytest

from adamolmo.budgets import Budget
from adamolmo.controllers.governor_file import Stream
from adamolmo.errors import AdaMolmoError
from adamolmo.files.governor import GovernorState

STREAM = Stream("lookup-mean", "okvqa", Budget.parse("60pct-p95"))


def test_a_state_comes_back_from_its_file(tmp_path):
    path = tmp_path / "state.json"
    assert STREAM.read(path) is None
    STREAM.write(path, GovernorState(requests=7, margin=0.125, slowdown=1.5))
    assert STREAM.read(path) == GovernorState(requests=7, margin=0.125, slowdown=1.5)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Stream("static-full", "okvqa", STREAM.budget), "of controller 'lookup-mean'; expected 'static-full'"),
        (Stream("lookup-mean", "text_vqa", STREAM.budget), "of dataset 'okvqa'; expected 'text_vqa'"),
        (Stream("lookup-mean", "okvqa", Budget.parse("60pct-p99")), "of budget '60pct-p95'; expected '60pct-p99'"),
    ],
)
def test_the_state_of_another_stream_is_refused(tmp_path, other, sentence):
    STREAM.write(tmp_path / "state.json", GovernorState(requests=1, margin=0.0, slowdown=1.0))
    with pytest.raises(AdaMolmoError, match=sentence):
        other.read(tmp_path / "state.json")


def test_a_state_that_cannot_be_is_refused(tmp_path):
    path = tmp_path / "state.json"
    STREAM.write(path, GovernorState(requests=1, margin=0.0, slowdown=1.0))
    path.write_text(path.read_text().replace("0.0", "-1.0"))
    with pytest.raises(AdaMolmoError, match="state.json: key 'margin' is -1.0; expected greater than -1"):
        STREAM.read(path)
    path.write_text("{")
    with pytest.raises(AdaMolmoError, match="cannot be read as the JSON document stream state"):
        STREAM.read(path)
