"""Times every knob configuration on one shard of the samples whose latency is measured."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import samples_from_table
from adamolmo.latency import claim_device
from adamolmo.provenance import provenance
from adamolmo.result_files.core_exp import CORE_EXP_LATENCY
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_table, write_table
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
    settings, timing = args.settings, args.settings.latency
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])
    with claim_device(settings.model.device):
        from adamolmo.latency_pass import choose_samples, latency_pass

        engine = load_engine(settings, args.model, args.scores)
        chosen = choose_samples(samples, timing.samples, settings.seed)
        table, measured = latency_pass(
            engine,
            chosen[args.shard :: settings.core_exp.shards],
            settings.datasets[args.dataset].style,
            settings.knobs.grid(),
            (chosen[0], settings.knobs.full),
            repeats=timing.repeats,
            max_warmup=timing.max_warmup,
            seed=(settings.seed, args.shard),
        )
        metadata = provenance(engine, args.model, args.samples, settings.seed) | measured
    write_table(table.assign(dataset=args.dataset), args.output, CORE_EXP_LATENCY, metadata)


if __name__ == "__main__":
    run(main)
