"""Draws one figure, as PDF and PNG. It imports that figure's module alone: an edit of another redraws nothing."""

import argparse
import importlib
from pathlib import Path

from adamolmo.jobs.script import run
from adamolmo.report.inputs import READERS, add_inputs, read_inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", help="a module of adamolmo.report.figures")
    add_inputs(parser, *READERS, required=False)
    parser.add_argument("--output", type=Path, required=True, help="the PDF; the PNG lies beside it")
    args = parser.parse_args()
    figure = importlib.import_module(f"adamolmo.report.figures.{args.figure}")
    figure.draw(**read_inputs(args), path=args.output.with_suffix(""))


if __name__ == "__main__":
    run(main)
