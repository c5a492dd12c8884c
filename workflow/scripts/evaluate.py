"""Evaluates one cell: a controller answers the evaluation split of a dataset under a budget."""

from adamolmo.controllers.governor import load_governor
from adamolmo.controllers.modules import load_controller
from adamolmo.evaluation.cell import evaluate_cell
from adamolmo.evaluation.cell_summary import Cell, summarise_cell
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.governor import GovernedStream
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import controller_context, energy_counter, load_engine, load_questions
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    inputs = ("dataset", "controller", "module", "budget", "model", "samples", "scores", "reference", "settings")
    args = job_parser(__doc__, *inputs, "summary", "table").parse_args()
    settings = args.settings
    resampling = Resampling(settings.bootstrap.resamples, settings.seed)
    cell = Cell(args.dataset, args.controller, args.budget, read_json(args.reference, Reference))
    engine = load_engine(settings, args.model, args.scores, energy_counter(settings))
    questions, failed = load_questions(settings, engine, args.dataset, args.samples)
    context = controller_context(settings, args.model, args.dataset)
    controller = load_controller(args.controller, args.module, context)
    governor = load_governor(controller, args.budget, cell.budget_ms, context)
    table, timing = evaluate_cell(
        engine,
        questions,
        controller,
        governor,
        cell,
        full=settings.knobs.grid.full,
        max_warmup=settings.latency.max_warmup,
        resampling=resampling,
    )
    write_table(table, args.table, EVALUATION)
    stream = GovernedStream(start=governor.start, end=governor.state)
    write_json(summarise_cell(cell, table, timing, stream, failed, resampling), args.summary)


if __name__ == "__main__":
    run(main)
