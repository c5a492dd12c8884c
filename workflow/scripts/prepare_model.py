"""Verifies a checkpoint and stores it so that jobs load it fast, in the study's number format."""

from pathlib import Path

import torch

from adamolmo.backend.loading import prepare
from adamolmo.backend.prepared import MANIFEST
from adamolmo.data.hub import fetch_checkpoint
from adamolmo.files.documents import write_json
from adamolmo.files.model import Manifest
from adamolmo.files.writing import file_checksum
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    parser.add_argument("--checkpoint", required=True, help="a directory, or a repository of the Hugging Face Hub")
    args = parser.parse_args()
    settings = args.settings.model
    directory = Path(args.checkpoint)
    if not directory.is_dir():
        directory = fetch_checkpoint(args.checkpoint)
    prepared = prepare(directory, args.output, getattr(torch, settings.dtype), settings.fixed_prefix_layers)
    checksum = file_checksum(*(args.output / name for name in prepared.files))
    write_json(Manifest(checksum=checksum, dtype=settings.dtype, **vars(prepared)), args.output / MANIFEST)


if __name__ == "__main__":
    run(main)
