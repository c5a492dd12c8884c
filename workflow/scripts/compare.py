"""Compares every two controllers on the same questions; the hypervolumes of all and, if asked for, their regret."""

from pathlib import Path

import numpy as np

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.comparison import Outcomes, compare, hypervolumes, read_outcomes, regret
from adamolmo.evaluation.oracle import GridOutcomes, confirmed_accuracy
from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES, REGRET
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.summary import SUMMARY
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    parser = job_parser(__doc__, "settings")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="directory {dataset}/{controller}/{budget}.parquet")
    parser.add_argument("--core-exp", type=Path, nargs="*", default=[], help="profiles of the evaluation split")
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--hypervolumes", type=Path, required=True)
    parser.add_argument("--regret", type=Path, help="needs the oracle's cells and --core-exp")
    args = parser.parse_args()
    outcomes = list(read_outcomes(read_table(args.summary, SUMMARY)[0], args.answers))
    resampling = Resampling(args.settings.bootstrap.resamples, args.settings.seed)
    comparisons = compare(outcomes, resampling)
    write_table(comparisons, args.comparisons, COMPARISONS)
    write_table(hypervolumes(outcomes, resampling), args.hypervolumes, HYPERVOLUMES)
    if args.regret:
        profiles = {path.stem: path for path in args.core_exp}
        confirmed = {part.dataset: confirm(profiles[part.dataset], part, args.settings) for part in outcomes}
        write_table(regret(comparisons, outcomes, confirmed, resampling), args.regret, REGRET)


def confirm(path: Path, outcomes: Outcomes, settings: StudyConfig) -> np.ndarray:
    """`confirmed_accuracy` of one dataset, [budgets, n]."""
    configs = settings.knobs.grid.configs
    grid = GridOutcomes.of(read_table(path, CORE_EXP)[0], configs)
    if grid.sample_ids != outcomes.sample_ids.tolist():
        raise AdaMolmoError(f"{path}: has other questions than the cells of {outcomes.dataset}; expected the same.")
    budgets = zip(map(Budget.parse, outcomes.budgets), outcomes.budget_ms, strict=True)
    return np.stack([confirmed_accuracy(grid, configs, ms, settings.seed, budget.promise) for budget, ms in budgets])


if __name__ == "__main__":
    run(main)
