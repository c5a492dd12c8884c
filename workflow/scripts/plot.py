"""Draws one figure, at two widths of a paper. It imports that figure's module alone: an edit of another redraws
nothing."""

import argparse
import importlib
from pathlib import Path

from adamolmo.jobs.script import run
from adamolmo.report.figures.style import COLUMN_IN, PAGE_IN, save, tell_apart
from adamolmo.report.inputs import READERS, add_inputs, read_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", help="a module of adamolmo.report.figures")
    add_inputs(parser, optional=READERS)
    parser.add_argument("--output", type=Path, required=True, help="the PDF over both columns; a PNG lies beside it")
    parser.add_argument("--one-column", type=Path, required=True, help="the PDF for one column")
    parser.add_argument(
        "--unfamiliar", nargs="*", required=True, help="controllers of the study that are not the library's"
    )
    args = parser.parse_args()
    tell_apart(args.unfamiliar)
    figure = importlib.import_module(f"adamolmo.report.figures.{args.figure}")
    inputs = read_inputs(args)
    save(figure.draw(**inputs, width=PAGE_IN), args.output.with_suffix(""))
    save(figure.draw(**inputs, width=COLUMN_IN), args.one_column.with_suffix(""), ["pdf"])


if __name__ == "__main__":
    run(main)
