"""Trains one phase of the embedded model: vision and text can run side by side, joint needs both and exports."""

import argparse
from pathlib import Path

import torch

from adamolmo.embedded.easy_vqa import installed
from adamolmo.embedded.recipe import JOINT_SHARDS, Recipe
from adamolmo.embedded.training import train_joint, train_text, train_vision
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.jobs.script import run
from adamolmo.model.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["vision", "text", "joint"])
    parser.add_argument("--directory", type=Path, required=True, help="where the phases' weights are kept")
    parser.add_argument("--cores", type=int, default=1, help="processes of the joint phase, 1 or 2, one thread each")
    parser.add_argument("--steps", type=int, help="only so many steps and small batches, to try it out")
    args = parser.parse_args()
    torch.set_num_threads(1)  # results depend on the number of threads
    args.directory.mkdir(parents=True, exist_ok=True)
    recipe = Recipe() if args.steps is None else Recipe().shortened(args.steps)
    vision, text = (args.directory / f"{part}.safetensors" for part in ("vision", "text"))
    save_tokenizer(args.directory)
    if args.phase == "vision":
        train_vision(recipe, installed(), vision)
    elif args.phase == "text":
        train_text(recipe, Tokenizer.load(args.directory), text)
    else:
        processes = min(args.cores, JOINT_SHARDS)
        train_joint(recipe, installed(), args.directory, vision, text, args.directory / "checkpoint", processes)


if __name__ == "__main__":
    run(main)
