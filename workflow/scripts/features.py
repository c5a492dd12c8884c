"""Stores what the two-stage controllers are trained on: the keys and values of every prompt in the fixed prefix."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import readable, samples_from_table
from adamolmo.latency import claim_device
from adamolmo.result_files.model import MANIFEST
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_json, read_table
from adamolmo.script import run
from adamolmo.study import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings = args.settings
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])
    usable, _ = readable(samples, settings.core_exp.max_failed_fraction)
    with claim_device(settings.model.device):
        from adamolmo.controllers.features import make_features

        make_features(
            load_engine(settings, args.model),
            usable,
            args.dataset,
            settings.datasets[args.dataset].style,
            settings.core_exp.batch_size,
            read_json(args.model / "manifest.json", MANIFEST)["checksum"],
            args.output,
        )


if __name__ == "__main__":
    run(main)
