"""Verifies a checkpoint and stores it as one file that loads fast: stacked experts, the study's number format."""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from adamolmo.config import StudyConfig
from adamolmo.model.checkpoint import load_model
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.schema import MANIFEST, file_checksum, replacing, write_json
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings = args.settings.model
    Tokenizer.load(args.checkpoint)
    model = load_model(args.checkpoint, settings.fixed_prefix_layers, getattr(torch, settings.dtype))
    files = [args.output / name for name in ("model.safetensors", "config.json", "tokenizer.json")]
    with replacing(files[0]) as temporary:
        save_file(model.state_dict(), temporary, metadata={"format": "pt"})
    for path in files[1:]:
        shutil.copyfile(args.checkpoint / path.name, path)
    manifest = {
        "checksum": file_checksum(*files),
        "num_parameters": sum(tensor.numel() for tensor in model.state_dict().values()),
        "num_blocks": model.config.num_layers,
        "dtype": settings.dtype,
    }
    write_json(manifest, args.output / "manifest.json", MANIFEST)


if __name__ == "__main__":
    run(main)
