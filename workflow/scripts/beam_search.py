"""Searches for the sets of blocks that cost the least accuracy when they are removed together."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import readable, samples_from_table
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device
from adamolmo.result_files.importance import BEAM_SEARCH
from adamolmo.result_files.model import MANIFEST
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_json, read_table, write_json
from adamolmo.script import run
from adamolmo.study import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="one file per dataset, in their order")
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings, core_exp = args.settings, args.settings.core_exp
    datasets = {}
    for (name, dataset), path in zip(settings.datasets.items(), args.samples, strict=True):
        samples, _ = readable(samples_from_table(read_table(path, SAMPLES)[0]), core_exp.max_failed_fraction)
        datasets[name] = samples, dataset.style, SCORERS[dataset.scorer]
    manifest = read_json(args.model / "manifest.json", MANIFEST)
    with claim_device(settings.model.device):
        from adamolmo.beam_search import search

        found = search(
            load_engine(settings, args.model),
            datasets,
            tier=settings.importance.tier,
            width=settings.importance.beam_width,
            most_removed=manifest["num_blocks"] - settings.knobs.num_active_blocks[0],
            batch_size=core_exp.batch_size,
            memory_bytes=core_exp.memory_mb * 1e6,
        )
    write_json(found | {"model_checksum": manifest["checksum"]}, args.output, BEAM_SEARCH)


if __name__ == "__main__":
    run(main)
