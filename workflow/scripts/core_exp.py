"""Answers of every knob configuration of one tier on one shard of a dataset's samples."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import check_failures, samples_from_table, split_readable
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device
from adamolmo.provenance import provenance
from adamolmo.result_files.core_exp import CORE_EXP_ACCURACY
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_table, write_table
from adamolmo.script import run
from adamolmo.study import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--tier", required=True)
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])
    usable, failed = split_readable(samples[args.shard :: core_exp.shards])
    check_failures(failed, len(samples), core_exp.max_failed_fraction)
    with claim_device(settings.model.device):
        from adamolmo.profiling import accuracy_pass

        engine = load_engine(settings, args.model, args.scores)
        table = accuracy_pass(
            engine,
            usable,
            dataset.style,
            SCORERS[dataset.scorer],
            [config for config in settings.knobs.grid() if config.tier == args.tier],
            core_exp.batch_size,
            core_exp.memory_mb * 1e6,
        )
        metadata = provenance(engine, args.model, args.samples, settings.seed) | {"failed": failed}
    write_table(table.assign(dataset=args.dataset), args.output, CORE_EXP_ACCURACY, metadata)


if __name__ == "__main__":
    run(main)
