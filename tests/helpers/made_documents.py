"""Documents of a made-up study, whole but for what a test changes."""

import json
from collections.abc import Sequence
from pathlib import Path

from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import sealed
from adamolmo.files.importance import BeamSearch, Importance
from adamolmo.files.lookup import LookupOrigin
from adamolmo.files.model import Manifest

ORIGIN = LookupOrigin(model_checksum="checksum", clock="measured", device={"name": "a core"}, aggregation="mean")


def reference(**changes) -> Reference:
    content = {
        "config": "high-k8-b16",
        "median_latency_ms": 35.5,
        "lowest_median_latency_ms": 11.0,
        "reference_request_ms": None,
        "device": {"kind": "cpu"},
        "clock": "measured",
    }
    return Reference(**content | changes)


def importance(**changes) -> Importance:
    content = {
        "model_checksum": "abc",
        "num_blocks": 7,
        "num_samples": 1,
        "baseline_accuracy": 1.0,
        "scores": {},
        "selection": "accuracy_drop",
        "removal_order": (5, 3),
        "removed_sets": None,
        "removal_orders": {},
        "spearman_between_halves": None,
        "agreement": {},
        "datasets": {},
    }
    return Importance(**content | changes)


def beam_search(*removed_sets: tuple[int, ...]) -> BeamSearch:
    return BeamSearch(
        model_checksum="abc",
        num_samples=1,
        baseline_accuracy=1.0,
        width=1,
        sets_tried=len(removed_sets),
        removed_sets=removed_sets,
        accuracies=(1.0,) * len(removed_sets),
    )


def rewrite(path: Path, **changes) -> None:
    """Changes a document on disk, checksum included: as if the study had written it so."""
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | changes)))


def manifest(num_blocks: int, checksum: str = "0" * 64, files: Sequence[str] = ("model.safetensors",)) -> Manifest:
    """Of a prepared MolmoE."""
    return Manifest(
        checksum=checksum,
        num_parameters=2_400_000,
        num_blocks=num_blocks,
        dtype="float32",
        model_type="molmo",
        files=tuple(files),
        checks=(),
    )
