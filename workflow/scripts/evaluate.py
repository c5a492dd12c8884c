"""Evaluates one cell: a controller answers the evaluation split of a dataset under a budget."""

from adamolmo.arguments import job_parser
from adamolmo.controllers.registry import load_controller
from adamolmo.data.samples import read_samples
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import describe_device
from adamolmo.result_files.core_exp import REFERENCE
from adamolmo.result_files.evaluation import CELL, EVALUATION
from adamolmo.schema import read_json, write_json, write_table
from adamolmo.script import run
from adamolmo.study import claimed_engine, controller_context


def main() -> None:
    inputs = ("dataset", "controller", "budget", "model", "samples", "scores", "reference", "settings")
    args = job_parser(__doc__, *inputs, "summary", "table").parse_args()
    settings, dataset = args.settings, args.settings.datasets[args.dataset]
    samples = read_samples(args.samples)
    with claimed_engine(settings, args.model, args.scores) as engine:
        from adamolmo.evaluation import evaluate_cell

        device = describe_device(settings.model.device)
        context = controller_context(settings, args.model.parent, args.dataset, device)
        table, summary = evaluate_cell(
            engine,
            samples,
            load_controller(args.controller, context),
            dataset=args.dataset,
            style=dataset.style,
            scorer=SCORERS[dataset.scorer],
            budget=args.budget,
            reference=read_json(args.reference, REFERENCE),
            full=settings.knobs.full,
            max_warmup=settings.latency.max_warmup,
            max_failed_fraction=settings.core_exp.max_failed_fraction,
            resamples=settings.bootstrap.resamples,
            seed=settings.seed,
        )
    write_table(table, args.table, EVALUATION)
    write_json(summary, args.summary, CELL)


if __name__ == "__main__":
    run(main)
