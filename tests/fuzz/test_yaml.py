"""A thousand mutations of the configuration: each is a valid configuration still, or one sentence that says why not."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from adamolmo.config import StudyConfig
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml")), ROOT / "tests/workflow/mini.yaml"]
VALUES = [
    *(0, 1, -1, 3, 2**31, 2**32, 2**63, 2**64, 10**40, 0.5, 1e-320, 1e300, float("inf"), float("-inf"), float("nan")),
    *(True, False, None, "", "a", "all", "null", "1", "٣", "é", "\x1b[31m", "\u202e", "a/b", "../x", "x" * 5000),
    *("60pct", "9" * 400 + "ms", "0ms", "1e3ms", "-5pct", "60pct-p95", "low", "high", "oracle", "static-high-k8-b16"),
    *([], {}, [[]], [None], {"a": {}}, ["60pct", "60pct"], [3, 2, 1], [1, 1], ["low"], {"low": None}, ["a"] * 2000),
]  # fmt: skip
BYTES = [
    *(b"&a ", b"*a", b"!!int ", b"!x ", b"<<: ", b"---\n", b"...\n", b"%YAML 1.1\n", b"\t", b"\n", b"\r", b"\0"),
    *(b"\x1b", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b":", b": ", b"- ", b"? ", b"| ", b"> ", b"'", b'"'),
    *(b"#", b",", b"\xe2\x80\xa8", "é".encode(), "key: 1".encode("utf-16"), b"[" * 2000, b"{a: " * 500, b"9" * 5000),
]  # fmt: skip


def places(content: object, path: tuple = ()) -> Iterator[tuple]:
    """Of everything in nested keys and lists."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def other_content(rng: random.Random, content: dict) -> bytes:
    """A value or key is replaced, removed, doubled or put elsewhere."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        found = list(places(content))
        if not found:
            break
        *parents, key = rng.choice(found)
        section = content
        for parent in parents:
            section = section[parent]
        change = rng.randrange(4)
        if change == 0:
            del section[key]
        elif change == 1 and isinstance(section, dict):
            section[rng.choice(["seed", "okvqa", "low", "A", "x" * 300, "\x1b", "1", "path"])] = section[key]
        elif change == 2:
            *others, other = rng.choice(found)
            source = content
            for parent in others:
                source = source[parent] if isinstance(source, dict | list) and parent in keys_of(source) else {}
            section[key] = json.loads(json.dumps(source[other])) if other in keys_of(source) else None
        else:
            section[key] = rng.choice(VALUES)
    return yaml.safe_dump(content, allow_unicode=rng.random() < 0.5, sort_keys=False).encode()


def keys_of(section: object) -> range | set:
    return range(len(section)) if isinstance(section, list) else set(section) if isinstance(section, dict) else set()


def other_bytes(rng: random.Random, text: bytes) -> bytes:
    """Bits flip, pieces are lost, doubled, moved, or what means something in YAML gets in between."""
    content = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 10, 100)))
        piece, change = bytes(content[start:end]), rng.randrange(5)
        if change == 0 and piece:
            content[start] ^= 1 << rng.randrange(8)
        elif change == 1:
            del content[start:end]
        elif change == 2:
            content[start:start] = piece
        elif change == 3:
            content[start:start] = rng.choice(BYTES)
        else:
            content = content[:start] if rng.random() < 0.2 else content[:start] + content[end:] + piece
    return bytes(content)


@pytest.mark.parametrize("seed", range(20))
def test_any_configuration_is_valid_or_one_sentence(tmp_path, seed):
    path, valid = tmp_path / "mutated.yaml", 0
    for number in range(50):
        rng = random.Random(f"{seed} {number}")
        chosen = rng.choice(FILES)
        text = chosen.read_bytes()
        mutated = other_bytes(rng, text) if rng.random() < 0.5 else other_content(rng, yaml.safe_load(text))
        path.write_bytes(mutated)
        base = [] if chosen == FILES[0] else [FILES[0]]
        found = load(*base, path)
        if isinstance(found, StudyConfig):
            check_bounds(found)
            valid += 1
        else:
            assert found.isprintable() and len(found) < 2000, mutated
            assert found.endswith((".", "?", ".)")), mutated
            assert found.startswith(tuple(map(str, [*base, path]))), mutated
    assert valid > 2  # otherwise nothing but the reader is tried


def load(*paths: Path) -> StudyConfig | str:
    """Or the sentence that says why not; any other end of it is a fault."""
    try:
        return StudyConfig.load(*paths)
    except AdaMolmoError as error:
        return str(error)


def check_bounds(study: StudyConfig) -> None:
    """What later jobs rely on."""
    assert 0 <= study.seed < 2**32
    assert 0 < len(study.knobs.grid.configs) <= 10_000
    assert all(KnobConfig.parse(str(config)) == config for config in study.knobs.grid.configs[:50])
    text = json.dumps(study.model_dump(mode="json"), allow_nan=False)
    assert StudyConfig.from_dict(json.loads(text), {}) == study
