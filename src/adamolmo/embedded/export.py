"""Writes trained weights as a checkpoint in the released format: config.json, tokenizer.json, model.safetensors."""

import json
from pathlib import Path

import torch

from adamolmo.embedded.recipe import Recipe
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.model.checkpoint import save_released
from adamolmo.model.molmoe import MolmoE


def export_checkpoint(model: MolmoE, recipe: Recipe, directory: Path) -> None:
    """The weights are stored as float16."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(dict(recipe.architecture), indent=2) + "\n")
    save_tokenizer(directory)
    save_released(model, directory / "model.safetensors", torch.float16)
