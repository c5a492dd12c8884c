"""Draws one figure, as PDF and PNG."""

import argparse
from pathlib import Path

from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.importance import IMPORTANCE
from adamolmo.files.schema import read_json, read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.training import TRAINING
from adamolmo.jobs.script import run
from adamolmo.report.figures.budgets import knob_distribution, violations
from adamolmo.report.figures.controllers import overhead, training_curves
from adamolmo.report.figures.gains import gains, hypervolume
from adamolmo.report.figures.importance import importance
from adamolmo.report.figures.pareto import pareto
from adamolmo.report.figures.profile import repeatability, stage_times

CONFIG = ["dataset", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms"]
STAGES = ["vision_ms", "prefill_ms", "decode_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--summary", type=Path)
    parser.add_argument("--comparisons", type=Path)
    parser.add_argument("--hypervolumes", type=Path)
    parser.add_argument("--core-exp", type=Path, nargs="+")
    parser.add_argument("--training", type=Path, nargs="+")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="the PDF; the PNG lies beside it")
    args = parser.parse_args()
    FIGURES[args.figure](args, args.output.with_suffix(""))


def profile(args, *columns):
    return read_profiles(args.core_exp, [*CONFIG, *columns])[0]


def summary(args):
    return read_table(args.summary, SUMMARY)[0]


def comparisons(args):
    return read_table(args.comparisons, COMPARISONS)[0]


def timing(args):
    return {path.stem: read_table(path, CORE_EXP, ["dataset"])[1] for path in args.core_exp}


def training_logs(args):
    return {path.parent.name: read_table(path, TRAINING)[0] for path in args.training}


FIGURES = {
    "pareto": lambda args, path: pareto(summary(args), profile(args), comparisons(args), path),
    "gains": lambda args, path: gains(summary(args), comparisons(args), path),
    "hypervolume": lambda args, path: hypervolume(read_table(args.hypervolumes, HYPERVOLUMES)[0], path),
    "violations": lambda args, path: violations(summary(args), path),
    "knob_distribution": lambda args, path: knob_distribution(summary(args), profile(args), path),
    "overhead": lambda args, path: overhead(summary(args), path),
    "training_curves": lambda args, path: training_curves(training_logs(args), path),
    "stage_times": lambda args, path: stage_times(profile(args, *STAGES), path),
    "repeatability": lambda args, path: repeatability(
        profile(args, "latency_iqr_ms", "latency_source"), timing(args), path
    ),
    "importance": lambda args, path: importance(
        read_json(args.scores, IMPORTANCE), profile(args, "sample_id", "image_id"), path
    ),
}

if __name__ == "__main__":
    run(main)
