"""The part of YAML that a configuration is written in: what each form means, and that all others are one sentence."""

import time
from itertools import pairwise

import pytest

from adamolmo.config.files import read_yaml
from adamolmo.errors import AdaMolmoError


def bomb(first: str, link: str) -> str:
    """A few lines, each of which stands for nine times as much as the one before."""
    names = [f"n{i}" for i in range(10)]
    lines = (f"{name}: &{name} {link % ', '.join([f'*{before}'] * 9)}\n" for before, name in pairwise(names))
    return f"n0: &n0 {first}\n" + "".join(lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1.5", 1.5),
        ("12.", 12.0),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("no", "no"),
        ("on", "on"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-05-01", "2024-05-01"),
        ("٣", "٣"),
        ("1.2.3", "1.2.3"),
        ("<<", "<<"),
        ("[1, a, {b: c}]", [1, "a", {"b": "c"}]),
        ('{"a": 1e-05, "b": [null]}', {"a": 1e-05, "b": [None]}),
    ],
)
def test_what_a_value_means(tmp_path, text, value):
    path = tmp_path / "file.yaml"
    path.write_text(f"key: {text}\n")
    found = read_yaml(path)["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (bomb("[x, x]", "[%s]"), "line 2: an alias; expected"),
        (bomb("{x: 1}", "{<<: [%s]}"), "line 2: an alias; expected"),
        ("a: &a [*a]", "line 1: an alias; expected"),
        ("[" * 60_000, "nested too deeply"),
        ("a: " + "{a: " * 10_000, "nested too deeply"),
        ("- " * 30_000, "nested too deeply"),
        ("a: " + "x" * 100_000, "more than 65536 bytes"),
        ("seed: 1\nseed: 2", "line 2: the key 'seed' a second time"),
        ("a: {b: 1, b: 1}", "line 1: the key 'b' a second time"),
        ("1: a", "line 1: a key that is no text"),
        ("[a]: b", "line 1: a key that is no text"),
        ("null: b", "line 1: a key that is no text"),
        ("a: !!python/object/apply:os.system [true]", "line 1: a tag; expected"),
        ("a: !!int '3'", "line 1: a tag; expected"),
        ("a: !mine x", "line 1: a tag; expected"),
        ("!!map {a: 1}", "line 1: a tag; expected"),
        ("a: 1\n---\na: 2", "line 2: but found another document"),
        ("a: [1", "line 1: expected ',' or ']'"),
        ("a:\n\t- 1", "line 2: found character"),
        ("a: *b", "line 1: "),
        ("- 1", "holds a list; expected keys and values."),
        ("", "holds nothing; expected keys and values."),
        ("3", "holds one value; expected keys and values."),
        ("seed: 1".encode("utf-16"), "byte 0 is no UTF-8"),
        ("seed: 1".encode("utf-32"), "is no UTF-8"),
        (b"a: caf\xe9", "byte 6 is no UTF-8"),
        (b"a: \0", "#x0000"),
        (b"a: \x1b[31m", "#x001b"),
        (b"%YAML 3.0\n---\na: 1", "found incompatible YAML document"),
    ],
)
def test_everything_else_is_one_sentence_within_a_second(tmp_path, content, sentence):
    path = tmp_path / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    started = time.process_time()
    with pytest.raises(AdaMolmoError) as error:
        read_yaml(path)
    assert time.process_time() - started < 5  # far below on any machine; a bomb takes years
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)
    assert str(error.value).isprintable()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 1\r\n")
    assert read_yaml(path) == {"seed": 1}
