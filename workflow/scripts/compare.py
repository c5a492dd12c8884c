"""Compares every two controllers on the same questions, and the hypervolumes of all."""

import argparse
from pathlib import Path

from adamolmo.comparison import compare, hypervolumes, read_outcomes
from adamolmo.config import StudyConfig
from adamolmo.schema import COMPARISONS, HYPERVOLUMES, SUMMARY, read_table, write_table
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="directory {dataset}/{controller}/{budget}.parquet")
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--hypervolumes", type=Path, required=True)
    args = parser.parse_args()
    outcomes = list(read_outcomes(read_table(args.summary, SUMMARY)[0], args.answers))
    chance = args.settings.bootstrap.resamples, args.settings.seed
    write_table(compare(outcomes, *chance), args.comparisons, COMPARISONS)
    write_table(hypervolumes(outcomes, *chance), args.hypervolumes, HYPERVOLUMES)


if __name__ == "__main__":
    run(main)
