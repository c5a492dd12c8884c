"""Makes one split of one dataset as a table with images: no later job needs the network or the source."""

import argparse
from pathlib import Path

import pandas as pd

from adamolmo.config import StudyConfig
from adamolmo.data.sources import draw_samples
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import write_table
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--num-samples", type=int, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings = args.settings.datasets[args.dataset]
    samples = draw_samples(settings, args.dataset, args.split, args.num_samples, args.settings.seed)
    write_table(pd.DataFrame(samples), args.output, SAMPLES, {"dataset": args.dataset, "split": args.split})


if __name__ == "__main__":
    run(main)
