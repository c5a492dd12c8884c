"""Evaluates one cell: a controller answers the evaluation split of a dataset under a budget."""

from adamolmo.controllers.registry import load_controller
from adamolmo.data.samples import read_samples
from adamolmo.data.scoring import SCORERS
from adamolmo.evaluation.cell import evaluate_cell
from adamolmo.files.core_exp import REFERENCE
from adamolmo.files.evaluation import CELL, EVALUATION
from adamolmo.files.schema import read_json, write_json, write_table
from adamolmo.inference.device import describe_device
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import controller_context, load_engine
from adamolmo.jobs.script import run


def main() -> None:
    inputs = ("dataset", "controller", "budget", "model", "samples", "scores", "reference", "settings")
    args = job_parser(__doc__, *inputs, "summary", "table").parse_args()
    settings, dataset = args.settings, args.settings.datasets[args.dataset]
    samples = read_samples(args.samples)
    engine = load_engine(settings, args.model, args.scores)
    device = describe_device(settings.model.device)
    context = controller_context(settings, args.model, args.dataset, device)
    table, summary = evaluate_cell(
        engine,
        samples,
        load_controller(args.controller, context),
        dataset=args.dataset,
        style=dataset.style,
        scorer=SCORERS[dataset.scorer],
        budget=args.budget,
        reference=read_json(args.reference, REFERENCE),
        full=settings.knobs.grid.full,
        max_warmup=settings.latency.max_warmup,
        max_failed_fraction=settings.core_exp.max_failed_fraction,
        resamples=settings.bootstrap.resamples,
        seed=settings.seed,
    )
    write_table(table, args.table, EVALUATION)
    write_json(summary, args.summary, CELL)


if __name__ == "__main__":
    run(main)
