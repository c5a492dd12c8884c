"""Compares the controllers on the same questions: every two of them, each with the best mixture of static ones, and
with what its budgets promise."""

from pathlib import Path

import numpy as np

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.comparison import compare, hypervolumes, regret
from adamolmo.evaluation.equal_latency import Static, equal_latency
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.oracle import confirmed_accuracy
from adamolmo.evaluation.outcomes import Outcomes, read_outcomes
from adamolmo.evaluation.promises import promises
from adamolmo.files.columns import KNOBS
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.documents import read_json
from adamolmo.files.policy import PolicyCard
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.summary import SUMMARY
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    parser = job_parser(__doc__, "settings")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="directory {dataset}/{controller}/{budget}.parquet")
    parser.add_argument("--profiles", type=Path, nargs="+", required=True)
    parser.add_argument("--grids", type=Path, nargs="+", required=True, help="all configurations, evaluation split")
    parser.add_argument("--trained", type=Path, nargs="*", default=[], help="policy.json of the trained controllers")
    for table in (COMPARISONS, EQUAL_LATENCY, PROMISES, HYPERVOLUMES):
        parser.add_argument(f"--{table.name.replace('_', '-')}", type=Path, required=True)
    parser.add_argument("--regret", type=Path, help="needs the oracle's cells")
    args = parser.parse_args()
    settings = args.settings
    configs, resampling = settings.knobs.grid.configs, Resampling(settings.bootstrap.resamples, settings.seed)
    outcomes = list(read_outcomes(read_table(args.summary, SUMMARY)[0], args.answers))
    profiles, grids = (read_grids(paths, settings) for paths in (args.profiles, args.grids))
    for part in outcomes:
        if grids[part.dataset].sample_ids != part.sample_ids.tolist():
            raise AdaMolmoError(f"the evaluation grid of {part.dataset} has other questions than its cells.")
    statics = {dataset: Static.of(profiles[dataset], grid) for dataset, grid in grids.items()}
    cards = [read_json(path, PolicyCard) for path in args.trained]
    overheads_ms = {card.controller: card.overheads_ms for card in cards}
    comparisons = compare(outcomes, resampling)
    write_table(comparisons, args.comparisons, COMPARISONS)
    write_table(equal_latency(outcomes, statics, configs, overheads_ms, resampling), args.equal_latency, EQUAL_LATENCY)
    write_table(promises(outcomes, resampling), args.promises, PROMISES)
    write_table(hypervolumes(outcomes, resampling), args.hypervolumes, HYPERVOLUMES)
    if args.regret:
        confirmed = {part.dataset: confirm(grids[part.dataset], part, settings) for part in outcomes}
        write_table(regret(comparisons, outcomes, confirmed, resampling), args.regret, REGRET)


def read_grids(paths: list[Path], settings: StudyConfig) -> dict[str, GridOutcomes]:
    columns = ["sample_id", *KNOBS, "accuracy", "latency_ms"]
    return {
        path.stem: GridOutcomes.of(read_table(path, CORE_EXP, columns)[0], settings.knobs.grid.configs)
        for path in paths
    }


def confirm(grid: GridOutcomes, outcomes: Outcomes, settings: StudyConfig) -> np.ndarray:
    """`confirmed_accuracy` of one dataset, [budgets, n]."""
    configs = settings.knobs.grid.configs
    budgets = zip(map(Budget.parse, outcomes.budgets), outcomes.budget_ms, strict=True)
    return np.stack([confirmed_accuracy(grid, configs, ms, settings.seed, budget.promise) for budget, ms in budgets])


if __name__ == "__main__":
    run(main)
