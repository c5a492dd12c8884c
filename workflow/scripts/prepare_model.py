"""Verifies a checkpoint and stores it as one file that loads fast: stacked experts, the study's number format."""

import math
from pathlib import Path

import torch

from adamolmo.data.hub import fetch_checkpoint
from adamolmo.files.documents import write_json
from adamolmo.files.model import Manifest
from adamolmo.files.writing import file_checksum
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.model.checkpoint import PREPARED_FILES, prepare_checkpoint


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    parser.add_argument("--checkpoint", required=True, help="a directory, or a repository of the Hugging Face Hub")
    args = parser.parse_args()
    settings = args.settings.model
    directory = Path(args.checkpoint)
    if not directory.is_dir():
        directory = fetch_checkpoint(args.checkpoint)
    prepared = prepare_checkpoint(directory, args.output, getattr(torch, settings.dtype), settings.fixed_prefix_layers)
    manifest = Manifest(
        checksum=file_checksum(*(args.output / name for name in PREPARED_FILES)),
        num_parameters=sum(map(math.prod, prepared.shapes.values())),
        num_blocks=prepared.config.num_layers,
        dtype=settings.dtype,
    )
    write_json(manifest, args.output / "manifest.json")


if __name__ == "__main__":
    run(main)
