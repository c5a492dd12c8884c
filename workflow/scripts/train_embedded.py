"""Trains one phase of the embedded model: vision and text can run side by side, joint needs both and exports."""

import argparse
from pathlib import Path

from adamolmo.embedded.export import export_checkpoint
from adamolmo.embedded.recipe import Recipe
from adamolmo.embedded.training import train_joint, train_text, train_vision
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.jobs.script import run
from adamolmo.model.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["vision", "text", "joint"])
    parser.add_argument("--directory", type=Path, required=True, help="where the phases' weights are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes of the joint phase, one thread each")
    parser.add_argument("--steps", type=int, help="only so many steps and small batches, to try it out")
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    recipe = Recipe() if args.steps is None else Recipe().shortened(args.steps)
    weights = {phase: args.directory / f"{phase}.safetensors" for phase in ("vision", "text", "joint")}
    save_tokenizer(args.directory)
    if args.phase == "vision":
        train_vision(recipe, weights["vision"])
    elif args.phase == "text":
        train_text(recipe, Tokenizer.load(args.directory), weights["text"])
    else:
        train_joint(recipe, args.directory, weights["vision"], weights["text"], weights["joint"], args.workers)
        export_checkpoint(weights["joint"], args.directory / "checkpoint")


if __name__ == "__main__":
    run(main)
