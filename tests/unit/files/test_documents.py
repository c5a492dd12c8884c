"""JSON between rules: what is written comes back, and nothing else is made, written or accepted."""

import json

import pytest
from made_documents import importance, reference

from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import Failed, read_json, write_json
from adamolmo.files.evaluation import StageMeans
from adamolmo.files.importance import Importance
from adamolmo.statistics.interval import Interval


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "reference.json"
    document = reference(reference_request_ms=Interval(2.0, 1.0, 3.0))
    write_json(document, path)
    assert read_json(path, Reference) == document
    assert [path.name for path in path.parent.iterdir()] == ["reference.json"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"median_latency_ms": float("nan")}, r"key 'median_latency_ms' is NaN; expected a finite number"),
        ({"median_latency_ms": "35"}, r"key 'median_latency_ms' is \"35\"; expected a valid number"),
        ({"median_latency_ms": True}, r"key 'median_latency_ms' is true; expected a valid number"),
        ({"clock": "wall"}, r"key 'clock' is \"wall\"; expected 'measured' or 'modelled'"),
        ({"device": {"speed": 1.5}}, r"key 'device.speed' is 1.5; expected a valid string"),
        ({"median": 1}, r"key 'median' is unknown"),
    ],
)
def test_an_impossible_document_is_neither_made_nor_read(tmp_path, change, sentence):
    with pytest.raises(AdaMolmoError, match=f"^the document reference: {sentence}"):
        reference(**change)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(reference().model_dump() | change))
    with pytest.raises(AdaMolmoError, match=f"^{path}: {sentence}"):
        read_json(path, Reference)


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(AdaMolmoError, match="r.json: cannot be written as JSON"):
        write_json(reference(reference_request_ms=Interval(float("inf"), 1.0, 2.0)), tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; expected the JSON document reference"),
        (
            "{",
            "cannot be read as the JSON document reference .*; if the study made it, delete the file and run",
        ),
        ("[]", "holds a list; expected the JSON document reference"),
        ('{"config": "x"}', "key 'median_latency_ms' is missing; expected its median latency"),
    ],
)
def test_only_the_right_file_is_read(tmp_path, content, sentence):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: {sentence}"):
        read_json(path, Reference)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"value": 1.0, "low": 0.5}, "key 'reference_request_ms.high' is missing; expected value, low, high"),
        ({"value": 1.0, "low": 0.5, "high": 2.0, "hihg": 1.0}, "key 'reference_request_ms.hihg' is unknown; did you"),
        ({"value": 1.0, "low": 0.5, "high": float("nan")}, "key 'reference_request_ms.high' is NaN"),
    ],
)
def test_an_interval_has_a_value_and_two_ends(tmp_path, content, sentence):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(reference().model_dump() | {"reference_request_ms": content}))
    with pytest.raises(AdaMolmoError, match=sentence):
        read_json(path, Reference)


def test_faults_deep_in_a_document_are_named(tmp_path):
    path = tmp_path / "scores.json"
    write_json(importance(removed_sets=((3,), (3, 5))), path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"removed_sets": [[3], [3, "x"]]}))
    with pytest.raises(AdaMolmoError, match=r"key 'removed_sets\[1\]\[1\]' is \"x\"; expected a valid integer"):
        read_json(path, Importance)
    path.write_text(json.dumps(content | {"agreement": {"prefix": {"between_halves": 1}}}))
    with pytest.raises(AdaMolmoError, match=r"key 'agreement.prefix.between_datasets' is missing; expected 'one data"):
        read_json(path, Importance)


@pytest.mark.parametrize(
    ("written", "instead"),
    [('"median_latency_ms": 35.5', '"median_latency_ms": 35.4'), ("high-k8-b16", "high-k8-b17"), ("35.5", "355")],
)
def test_a_number_changed_by_hand_is_one_sentence(tmp_path, written, instead):
    path = tmp_path / "r.json"
    write_json(reference(), path)
    path.write_text(path.read_text().replace(written, instead))
    with pytest.raises(AdaMolmoError, match=rf"^{path}: cannot be read .*it was changed after it was written"):
        read_json(path, Reference)


def test_another_layout_of_the_same_content_is_the_same_document(tmp_path):
    path = tmp_path / "r.json"
    write_json(reference(), path)
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items())), indent=7))
    assert read_json(path, Reference) == reference()


def test_a_document_without_its_checksum_is_refused(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(reference().model_dump()))
    with pytest.raises(AdaMolmoError, match="its content is not what its checksum says"):
        read_json(path, Reference)


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ("cannot identify image file <_io.BytesIO object at 0x7f3a2c1b9e40>", "cannot identify image file _io.BytesIO"),
        ("buffer 0x7ffd00112233 is\nshort", "buffer ... is short"),
        ("\x1b[31mred\x1b[0m\ttext", "[31mred [0m text"),
        ("x" * 1000, "x" * 297 + "..."),
        ("at 0x10 bytes", "at 0x10 bytes"),
    ],
)
def test_what_a_library_said_becomes_stable_in_a_result(said, stands):
    assert Failed(sample_id="s", reason=said).reason.startswith(stands)
    assert Failed(sample_id="s", reason=said) == Failed(sample_id="s", reason=said.replace("7f3a2c1b9e40", "7f00"))


def test_a_document_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        StageMeans(vision_ms=1, prefill_ms=1, controller_ms=1, decode_ms=1, preprocess_ms=1).vision_ms = 2
