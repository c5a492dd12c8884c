"""Trains a controller on the profile of all datasets."""

import argparse
from importlib import import_module
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import find_controller
from adamolmo.latency import claim_device
from adamolmo.profiles import read_profiles
from adamolmo.schema import REFERENCE, TRAINING, read_json, write_table
from adamolmo.script import run
from adamolmo.study import describe_study

COLUMNS = ["dataset", "sample_id", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms", "flops"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controller", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--references", type=Path, nargs="+", required=True)
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True, help="directory of the policy")
    args = parser.parse_args()
    settings = args.settings
    profile, shared = read_profiles(args.core_exp, COLUMNS)
    budgets = [Budget.parse(text) for text in settings.training.budgets]
    references_ms = {p.name.split(".")[0]: read_json(p, REFERENCE)["median_latency_ms"] for p in args.references}
    with claim_device(settings.model.device):
        import torch

        from adamolmo.controllers.features import Features, FixedPrefix

        model = settings.model
        log = import_module(find_controller(args.controller).module).train(
            args.controller,
            args.output,
            describe_study(settings, args.model, shared["device"]),
            profile,
            {name: tuple(budget.to_ms(ms) for budget in budgets) for name, ms in references_ms.items()},
            {path.stem: Features(path) for path in args.features},
            FixedPrefix.load(args.model, model.fixed_prefix_layers, getattr(torch, model.dtype), model.device),
            settings.training,
            settings.seed,
        )
    write_table(log, args.output / "training.parquet", TRAINING, {"controller": args.controller, "seed": settings.seed})


if __name__ == "__main__":
    run(main)
