"""Compares all controllers on the same questions: differences to a baseline, hypervolumes and, if asked for, regret."""

import argparse
from pathlib import Path

from pandas import DataFrame

from adamolmo.comparison import Cells, compare, hypervolumes, regret
from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import ORACLE
from adamolmo.oracle import Outcomes, confirmed_accuracy
from adamolmo.schema import (
    CELL,
    COMPARISON,
    CORE_EXP,
    EVALUATION,
    HYPERVOLUME,
    REGRET,
    read_json,
    read_table,
    write_table,
)
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="JSON files; the tables lie beside them")
    parser.add_argument("--baseline", required=True)
    parser.add_argument("--core-exp", type=Path, nargs="*", default=[], help="profiles of the evaluation split")
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--comparison", type=Path, required=True)
    parser.add_argument("--hypervolume", type=Path, required=True)
    parser.add_argument("--regret", type=Path)
    args = parser.parse_args()
    resamples, seed = args.settings.bootstrap.resamples, args.settings.seed
    cells = read_cells(args.cells)
    write_table(compare(cells, args.baseline, resamples, seed), args.comparison, COMPARISON)
    write_table(hypervolumes(cells, resamples, seed), args.hypervolume, HYPERVOLUME)
    if args.regret:
        confirmed = confirm(args.core_exp, cells, args.settings)
        write_table(regret(cells, ORACLE, confirmed, resamples, seed), args.regret, REGRET)


def read_cells(paths: list[Path]) -> Cells:
    tables, budgets_ms = {}, {}
    for path in paths:
        cell = read_json(path, CELL)
        tables[cell["dataset"], cell["controller"], cell["budget"]] = read_table(
            path.with_suffix(".parquet"), EVALUATION
        )[0]
        budgets_ms[cell["dataset"], cell["budget"]] = cell["budget_ms"]
    return Cells(tables, budgets_ms)


def confirm(paths: list[Path], cells: Cells, settings: StudyConfig) -> dict[tuple[str, str], DataFrame]:
    """`confirmed_accuracy` by (dataset, budget)."""
    configs, result = settings.knobs.grid(), {}
    for path in paths:
        outcomes = Outcomes.of(read_table(path, CORE_EXP)[0], configs)
        for budget in cells.budgets:
            accuracy = confirmed_accuracy(outcomes, configs, cells.budgets_ms[path.stem, budget], settings.seed)
            result[path.stem, budget] = DataFrame({"sample_id": outcomes.sample_ids, "accuracy": accuracy})
    return result


if __name__ == "__main__":
    run(main)
