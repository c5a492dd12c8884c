"""Evaluates one cell: a controller answers the evaluation split of a dataset under a budget."""

from adamolmo.controllers.governor import load_governor
from adamolmo.controllers.modules import load_controller
from adamolmo.evaluation.cell_summary import Cell, summarise_cell
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.governor import GovernedStream
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.cell import run_cell
from adamolmo.jobs.loading import controller_context, energy_counter, load_engine
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    inputs = ("dataset", "controller", "module", "budget", "model", "samples", "scores", "reference", "settings")
    args = job_parser(__doc__, *inputs, "summary", "table").parse_args()
    settings = args.settings
    cell = Cell(args.dataset, args.controller, args.budget, read_json(args.reference, Reference))
    engine = load_engine(settings, args.model, args.scores, energy_counter(settings))
    context = controller_context(settings, args.model, args.dataset)
    controller = load_controller(args.controller, args.module, context)
    governor = load_governor(controller, args.budget, cell.budget_ms, context)
    table, timing, failed = run_cell(settings, engine, cell, controller, governor, args.samples)
    write_table(table, args.table, EVALUATION)
    stream = GovernedStream(start=governor.start, end=governor.state)
    resampling = Resampling(settings.bootstrap.resamples, settings.seed)
    write_json(summarise_cell(cell, table, timing, stream, failed, resampling), args.summary)


if __name__ == "__main__":
    run(main)
