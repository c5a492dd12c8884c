"""Prepares the documents of one task of lmms-eval: from the Hub, a copy of it, or the study's own evaluation split."""

import argparse
from pathlib import Path

from adamolmo.jobs.script import run
from adamolmo.lmms_eval.environment import quiet_harness

quiet_harness()  # before lmms-eval is imported

from adamolmo.lmms_eval.data import prepare, prepare_own  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--samples", type=Path, help="evaluation split of the study's dataset")
    parser.add_argument("--source", type=Path, help="directory with copies of Hub repositories")
    parser.add_argument("--target", type=Path, required=True)
    args = parser.parse_args()
    if args.samples:
        prepare_own(args.task, args.samples, args.target)
    else:
        prepare(args.task, args.source, args.target)


if __name__ == "__main__":
    run(main)
