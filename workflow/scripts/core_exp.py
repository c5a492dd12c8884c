"""Profiles every knob configuration on one shard of a dataset's samples."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import samples_from_table
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device
from adamolmo.schema import CORE_EXP, MANIFEST, SAMPLES, file_checksum, read_json, read_table, write_table
from adamolmo.script import run
from adamolmo.study import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])[args.shard :: core_exp.shards]
    with claim_device(settings.model.device):
        from adamolmo.profiling import Timing, profile_dataset

        timed = core_exp.latency_samples
        table, metadata = profile_dataset(
            load_engine(settings, args.model, args.scores),
            samples,
            dataset=args.dataset,
            style=dataset.style,
            scorer=SCORERS[dataset.scorer],
            configs=settings.knobs.grid(),
            reference=settings.knobs.full,
            batch_size=core_exp.batch_size,
            timing=Timing(
                samples=timed if timed == "all" else -(-timed // core_exp.shards),
                repeats=settings.latency.repeats,
                max_warmup=settings.latency.max_warmup,
                drift_limit_pct=settings.latency.drift_limit_pct,
            ),
            max_failed_fraction=core_exp.max_failed_fraction,
            seed=settings.seed,
        )
    metadata |= {
        "model_checksum": read_json(args.model / "manifest.json", MANIFEST)["checksum"],
        "data_checksum": file_checksum(args.samples),
        "seed": settings.seed,
    }
    write_table(table, args.output, CORE_EXP, metadata)


if __name__ == "__main__":
    run(main)
