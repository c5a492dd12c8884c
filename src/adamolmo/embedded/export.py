"""Writes trained weights as a checkpoint in the released format: config.json, tokenizer.json, model.safetensors."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from adamolmo.embedded.recipe import ARCHITECTURE, embedded_config
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.model.checkpoint import save_released
from adamolmo.model.molmoe import MolmoE


def export_checkpoint(weights: Path, directory: Path) -> None:
    """Weights of the joint phase, stored as float16."""
    model = MolmoE(embedded_config())
    model.load_state_dict(load_file(weights))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(ARCHITECTURE, indent=2) + "\n")
    save_tokenizer(directory)
    save_released(model, directory / "model.safetensors", torch.float16)
