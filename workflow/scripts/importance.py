"""Scores the blocks on one dataset: the accuracy that is lost when a block is skipped."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import samples_from_table
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device
from adamolmo.result_files.importance import IMPORTANCE_OF_DATASET
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_table, write_json
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
    settings, dataset = args.settings, args.settings.datasets[args.dataset]
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])
    with claim_device(settings.model.device):
        from adamolmo.importance import score_blocks

        scores = score_blocks(
            load_engine(settings, args.model),
            samples,
            dataset.style,
            SCORERS[dataset.scorer],
            tier=settings.importance.tier,
            batch_size=settings.core_exp.batch_size,
            memory_bytes=settings.core_exp.memory_mb * 1e6,
            max_failed_fraction=settings.core_exp.max_failed_fraction,
        )
    write_json(scores, args.output, IMPORTANCE_OF_DATASET)


if __name__ == "__main__":
    run(main)
