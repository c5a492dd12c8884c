"""Evaluates one cell: a controller answers the evaluation split of a dataset under a budget."""

import argparse
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import load_controller
from adamolmo.data.samples import samples_from_table
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device, describe_device
from adamolmo.result_files.core_exp import REFERENCE
from adamolmo.result_files.evaluation import CELL, EVALUATION
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_json, read_table, write_json, write_table
from adamolmo.script import run
from adamolmo.study import controller_context, load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--controller", required=True)
    parser.add_argument("--budget", type=Budget.parse, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    args = parser.parse_args()
    settings, dataset, model = args.settings, args.settings.datasets[args.dataset], args.settings.model
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])
    with claim_device(model.device):
        from adamolmo.evaluation import evaluate_cell

        engine = load_engine(settings, args.model, args.scores)
        context = controller_context(settings, args.model.parent, args.dataset, describe_device(model.device))
        table, summary = evaluate_cell(
            engine,
            samples,
            load_controller(args.controller, context),
            dataset=args.dataset,
            style=dataset.style,
            scorer=SCORERS[dataset.scorer],
            budget=args.budget,
            reference=read_json(args.reference, REFERENCE),
            max_warmup=settings.latency.max_warmup,
            max_failed_fraction=settings.core_exp.max_failed_fraction,
            resamples=settings.bootstrap.resamples,
            seed=settings.seed,
        )
    write_table(table, args.table, EVALUATION)
    write_json(summary, args.summary, CELL)


if __name__ == "__main__":
    run(main)
