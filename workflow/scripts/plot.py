"""Draws one figure, as PDF and PNG."""

import argparse
from pathlib import Path

from adamolmo import plots
from adamolmo.profiles import read_profiles
from adamolmo.schema import IMPORTANCE, SUMMARY, TRAINING, read_json, read_table
from adamolmo.script import run

COLUMNS = ["dataset", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms"]
STAGES = ["vision_ms", "prefill_ms", "decode_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--summary", type=Path)
    parser.add_argument("--core-exp", type=Path, nargs="+")
    parser.add_argument("--training", type=Path, nargs="+")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="the PDF; the PNG lies beside it")
    args = parser.parse_args()
    FIGURES[args.figure](args, args.output.with_suffix(""))


def profile(args):
    return read_profiles(args.core_exp, [*COLUMNS, *STAGES])[0]


def summary(args):
    return read_table(args.summary, SUMMARY)[0]


def training_logs(args):
    return {path.parent.name: read_table(path, TRAINING)[0] for path in args.training}


FIGURES = {
    "pareto": lambda args, path: plots.pareto(summary(args), profile(args), path),
    "knob_distribution": lambda args, path: plots.knob_distribution(summary(args), profile(args), path),
    "violations": lambda args, path: plots.violations(summary(args), path),
    "overhead": lambda args, path: plots.overhead(summary(args), path),
    "training_curves": lambda args, path: plots.training_curves(training_logs(args), path),
    "stage_times": lambda args, path: plots.stage_times(profile(args), path),
    "importance": lambda args, path: plots.importance(read_json(args.scores, IMPORTANCE), path),
}

if __name__ == "__main__":
    run(main)
