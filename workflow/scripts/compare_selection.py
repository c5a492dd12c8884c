"""Accuracy against the number of blocks kept on one dataset, for each rule that ranks the blocks."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.data.samples import readable, samples_from_table
from adamolmo.data.scoring import SCORERS
from adamolmo.latency import claim_device
from adamolmo.result_files.importance import BEAM_SEARCH, IMPORTANCE, INTERNAL_SCORES, SELECTION
from adamolmo.result_files.samples import SAMPLES
from adamolmo.schema import read_json, read_table, write_json
from adamolmo.script import run
from adamolmo.study import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="of another split than the one that was scored")
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--internal", type=Path, nargs="+", required=True)
    parser.add_argument("--beam", type=Path, required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    samples = samples_from_table(read_table(args.samples, SAMPLES)[0])[: settings.samples.importance]
    usable, failed = readable(samples, core_exp.max_failed_fraction)
    scores = read_json(args.scores, IMPORTANCE)
    internal = {path.stem: read_json(path, INTERNAL_SCORES) for path in args.internal}
    with claim_device(settings.model.device):
        from adamolmo.importance import compare_rules, merge, rankings

        ranked = merge(
            scores["datasets"],
            model_checksum=scores["model_checksum"],
            num_blocks=scores["num_blocks"],
            selection="accuracy_drop",
            seed=settings.seed,
            internal=internal,
        )

        accuracy = compare_rules(
            load_engine(settings, args.model),
            usable,
            dataset.style,
            SCORERS[dataset.scorer],
            rankings(ranked, read_json(args.beam, BEAM_SEARCH)),
            tier=settings.importance.tier,
            lowest_count=settings.knobs.num_active_blocks[0],
            batch_size=core_exp.batch_size,
            memory_bytes=core_exp.memory_mb * 1e6,
            resamples=settings.bootstrap.resamples,
            seed=settings.seed,
        )
    content = {
        "num_samples": len(usable),
        "accuracy": accuracy,
        "agreement": ranked["agreement"],
        "failed": failed,
    }
    write_json(content, args.output, SELECTION)


if __name__ == "__main__":
    run(main)
