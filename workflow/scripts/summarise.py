"""Collects the evaluated cells in one table."""

import argparse
from pathlib import Path

from adamolmo.evaluation.summary import collect
from adamolmo.files.many import all_of
from adamolmo.files.schema import write_table
from adamolmo.files.summary import SUMMARY
from adamolmo.jobs.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=all_of, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    write_table(collect(args.cells), args.output, SUMMARY)


if __name__ == "__main__":
    run(main)
