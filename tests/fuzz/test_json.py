"""A thousand seeded changes of every kind of JSON document: one sentence each, and never other numbers.

`python -m pytest tests/fuzz -k json` runs them; a failure names the seed of the change.
"""

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damage import damaged, read_or_refused
from hub_cache import released_config
from made_documents import ORIGIN, beam_search, importance, manifest, reference
from policies import ARCHITECTURE, FINGERPRINT, context, load_named, policy_card
from policies import GRID as TRAINED_GRID

from adamolmo.controllers.policy_file import save_policy
from adamolmo.controllers.predict import Predictor
from adamolmo.controllers.single_stage import SingleStagePolicy
from adamolmo.controllers.two_stage import TwoStagePolicy
from adamolmo.files.documents import Document, read_json, sealed, write_json
from adamolmo.files.governor import ConfigLatency, ControllerResponse, DatasetResponse, Spent, SpentByLimit, StreamState
from adamolmo.files.lookup import ExpectedLatencyFile, LatencyEntry, LookupEntry, LookupFile
from adamolmo.files.policy import PolicyCard, PredictorArchitecture, PredictorCard
from adamolmo.model.config import MolmoEConfig

CHANGES = 1000
ODD_NUMBERS = (0, -1, 1, 2**40, -(2**70), 10**400, 0.5, 1e308, math.nan, math.inf, True)
ODD_VALUES = (*ODD_NUMBERS, None, "", "x", [], [1, 2], {}, {"a": 1})
SPENT = Spent(mean=1.0, p90=2.0, p95=3.0, p99=4.0)
BY_LIMIT = SpentByLimit(mean=(1.0,), p90=(2.0,), p95=(3.0,), p99=(4.0,))
DOCUMENTS: tuple[Document, ...] = (
    reference(),
    importance(scores={"3": 0.25, "5": 0.125}, removal_orders={"prefix": (5, 3)}),
    beam_search((3,), (3, 5)),
    manifest(num_blocks=7),
    LookupFile(
        metadata=ORIGIN,
        entries=(LookupEntry(config="low-k2-b5", accuracy=0.5, latency_ms=12.5, num_samples=40),),
    ),
    ExpectedLatencyFile(
        entries=(LatencyEntry(config="low-k2-b5", fixed_ms=1.5, ms_per_crop=0.25, ms_per_token=0.125),),
        error_pct=3.5,
        scatter_pct=1.5,
        clock="modelled",
        device={"kind": "cpu"},
    ),
    ConfigLatency(configurations={"low-k2-b5": SPENT}),
    ControllerResponse(
        controller="two-stage-budget",
        datasets={
            "okvqa": DatasetResponse(
                budgets_ms=(10.0,), spent_ms=BY_LIMIT, prices_per_ms=(0.5,), spent_at_price_ms=(9.0,)
            )
        },
    ),
    StreamState(requests=3, margin=0.25, slowdown=1.5, controller="lookup-mean", dataset="okvqa", budget="60pct-p95"),
    PolicyCard(
        controller="mine",
        fingerprint=FINGERPRINT,
        architecture={"d_model": 16},
        scale_ms=20.0,
        training={"overhead_ms": dict.fromkeys(FINGERPRINT.grid.tiers, 0.5)},
    ),
    policy_card("two-stage-budget", ARCHITECTURE),
    PredictorCard(
        controller="predict-neighbours",
        fingerprint=FINGERPRINT,
        architecture=PredictorArchitecture(dim=25, num_configs=len(TRAINED_GRID.configs), num_parts=40),
        scale_ms=1.0,
        training={"overhead_ms": dict.fromkeys(FINGERPRINT.grid.tiers, 0.5)},
    ),
)


def name(document: Document) -> str:
    return type(document).__name__


def places(content: Any, before: tuple = ()) -> Iterator[tuple]:
    """Where something stands in a document, at any depth."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        yield (*before, key)
        yield from places(value, (*before, key))


def edited(content: dict, rng: random.Random) -> dict:
    """With one to three keys gone or another value in their place."""
    content = copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        *way, last = rng.choice(list(places(content)))
        section = content
        for key in way:
            section = section[key]
        if rng.random() < 0.15:
            del section[last]
        else:
            section[last] = copy.deepcopy(rng.choice(ODD_VALUES))
        if not content:
            break
    return content


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_damaged_document_is_refused_or_reads_the_same(document, tmp_path):
    path, rng = tmp_path / "document.json", random.Random(name(document))
    write_json(document, path)
    whole = path.read_bytes()
    for number in range(CHANGES // 10):
        path.write_bytes(damaged(whole, rng))
        found = read_or_refused(path, lambda path: read_json(path, type(document)))
        assert found is None or found == document, number


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_document_edited_by_hand_is_refused_or_reads_the_same(document, tmp_path):
    path, rng = tmp_path / "document.json", random.Random(name(document))
    write_json(document, path)
    content = json.loads(path.read_text())
    for number in range(CHANGES // 10):
        path.write_text(json.dumps(edited(content, rng)))
        found = read_or_refused(path, lambda path: read_json(path, type(document)))
        assert found is None or found == document, number


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_an_impossible_document_with_a_right_checksum_is_one_sentence(document, tmp_path):
    path, rng = tmp_path / "document.json", random.Random(name(document))
    write_json(document, path)
    content = json.loads(path.read_text())
    for _ in range(CHANGES // 10):
        path.write_text(json.dumps(sealed(edited(content, rng))))
        read_or_refused(path, lambda path: read_json(path, type(document)))


@pytest.mark.parametrize(
    ("controller", "sizes"),
    [
        ("two-stage-budget", ["d_model"]),
        ("single-stage-mlp", ["d_model", "overview_dim"]),
        ("predict-neighbours", ["dim", "num_configs", "num_parts"]),
        ("predict-overview", ["dim", "num_configs", "num_parts"]),
    ],
)
def test_a_policy_edited_with_a_right_checksum_is_one_sentence_or_loads(controller, sizes, tmp_path):
    """None of them hangs, makes networks of any size that it says, or loads with others than it has weights for."""
    directory, rng = tmp_path / "controllers" / controller, random.Random(controller)
    if controller.startswith("predict"):
        (card,) = (document for document in DOCUMENTS if isinstance(document, PredictorCard))
        card = card.model_copy(update={"controller": controller})
        save_policy(directory, Predictor(controller, card.architecture), card)
    else:
        card = policy_card(controller, ARCHITECTURE)
        build = TwoStagePolicy if controller.startswith("two") else SingleStagePolicy
        save_policy(directory, build(controller, ARCHITECTURE, TRAINED_GRID), card)
    path, study = directory / "policy.json", context(tmp_path)
    content, loaded = json.loads(path.read_text()), 0
    load_named(controller, study)
    for _ in range(CHANGES // 4):
        found = edited(content, rng)
        path.write_text(json.dumps(sealed(found)))
        if read_or_refused(directory, lambda _: load_named(controller, study)):
            assert all(found["architecture"][size] == content["architecture"][size] for size in sizes), found
            assert all(found[key] == content[key] for key in ("controller", "fingerprint"))
            loaded += 1
    assert 0 < loaded < CHANGES / 4


def test_configurations_of_checkpoints_are_right_or_one_sentence(tiny_config, tmp_path):
    """None of them hangs, and what is accepted can be made: sizes that fit each other."""
    path, rng = tmp_path / "config.json", random.Random("config.json")
    released = released_config(tiny_config)
    accepted = [config for _ in range(CHANGES) if (config := load_edited(path, released, rng))]
    assert 0 < len(accepted) < CHANGES / 2
    for config in accepted:
        assert config.d_model % config.num_heads == 0 and config.head_dim % 2 == 0
        assert 1 <= config.top_k <= config.num_experts
        assert all(-config.vision.num_layers <= layer < config.vision.num_layers for layer in config.vit_layers)


def load_edited(path: Path, released: dict, rng: random.Random) -> MolmoEConfig | None:
    path.write_text(json.dumps(edited(released, rng)))
    return read_or_refused(path, MolmoEConfig.load)


def test_damaged_configurations_of_checkpoints_are_one_sentence(tiny_config, tmp_path):
    path, rng = tmp_path / "config.json", random.Random("bytes of config.json")
    whole = json.dumps(released_config(tiny_config)).encode()
    for _ in range(CHANGES):
        path.write_bytes(damaged(whole, rng))
        read_or_refused(path, MolmoEConfig.load)
