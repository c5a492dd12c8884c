"""Prepares the embedded study's model for timing alone, without the workflow: what repeatability.py needs.

Writes model/, importance/scores.json and device.yaml (the study's device and number format) into a directory. Which
blocks are skipped is arbitrary: it changes no latency.

    python benchmarks/embedded_model.py --device cuda DIRECTORY
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import torch
import yaml

from adamolmo.backend.loading import prepare
from adamolmo.backend.prepared import MANIFEST
from adamolmo.files.documents import write_json
from adamolmo.files.importance import Importance
from adamolmo.files.model import Manifest
from adamolmo.files.writing import file_checksum
from adamolmo.jobs.script import run

ROOT = Path(__file__).parents[1]
FIXED_PREFIX_LAYERS = 3
SKIPPED_FIRST = (10, 9, 8, 7)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("directory", type=Path)
    args = parser.parse_args()
    dtype = "bfloat16" if args.device == "cuda" else "float32"
    model, scores = args.directory / "model", args.directory / "importance" / "scores.json"
    for directory in (model, scores.parent):
        directory.mkdir(parents=True, exist_ok=True)
    prepared = prepare(ROOT / "resources" / "embedded", model, getattr(torch, dtype), FIXED_PREFIX_LAYERS)
    checksum = file_checksum(*(model / name for name in prepared.files))
    write_json(Manifest(checksum=checksum, dtype=dtype, **vars(prepared)), model / MANIFEST)
    write_json(any_ranking(checksum, prepared.num_blocks), scores)
    settings = {"model": {"device": args.device, "dtype": dtype}, "latency": {"clock": "measured"}}
    (args.directory / "device.yaml").write_text(yaml.safe_dump(settings))


def any_ranking(checksum: str, num_blocks: int) -> Importance:
    return Importance(
        model_checksum=checksum,
        num_blocks=num_blocks,
        num_samples=1,
        baseline_accuracy=0.0,
        scores={},
        selection="accuracy_drop",
        removal_order=SKIPPED_FIRST,
        removed_sets=None,
        removal_orders={},
        spearman_between_halves=None,
        agreement={},
        datasets={},
    )


if __name__ == "__main__":
    run(main)
