"""Draws the controllers' differences to the baseline, as PDF and PNG."""

import argparse
from pathlib import Path

from adamolmo.comparison_plot import differences
from adamolmo.schema import COMPARISON, read_table
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparison", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="the PDF; the PNG lies beside it")
    args = parser.parse_args()
    differences(read_table(args.comparison, COMPARISON)[0], args.output.with_suffix(""))


if __name__ == "__main__":
    run(main)
