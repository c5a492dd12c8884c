"""The oracle's cell: the best configuration of every question in hindsight, from the evaluation split's profile."""

from pathlib import Path

from adamolmo.controllers.roles import ORACLE
from adamolmo.evaluation.cell_summary import Cell, Timing, check_reference, summarise_cell
from adamolmo.evaluation.oracle import oracle_table
from adamolmo.files.core_exp import CORE_EXP, Reference
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table, write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    parser = job_parser(__doc__, "dataset", "budget", "reference", "settings", "summary", "table")
    parser.add_argument("--core-exp", type=Path, required=True, help="every configuration on the evaluation split")
    args = parser.parse_args()
    grid, metadata = read_table(args.core_exp, CORE_EXP)
    reference = read_json(args.reference, Reference)
    check_reference(reference, metadata["device"], metadata["clock"])
    cell = Cell(args.dataset, ORACLE, args.budget, reference)
    table = oracle_table(grid, args.settings.knobs.grid.configs, cell.budget_ms, args.budget.promise)
    timing = Timing(metadata["device"], metadata["clock"], None)  # at the profile's speed
    resampling = Resampling(args.settings.bootstrap.resamples, args.settings.seed)
    write_table(table, args.table, EVALUATION)
    write_json(summarise_cell(cell, table, timing, None, metadata["failed"], resampling), args.summary)


if __name__ == "__main__":
    run(main)
