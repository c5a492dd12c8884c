"""Accuracy against the number of blocks kept on one dataset, for each rule that ranks the blocks."""

from pathlib import Path

from adamolmo.data.samples import read_samples, readable
from adamolmo.data.scoring import SCORERS
from adamolmo.files.importance import BEAM_SEARCH, IMPORTANCE, INTERNAL_SCORES, SELECTION
from adamolmo.files.schema import read_json, write_json
from adamolmo.importance.accuracy_drop import compare_rules, merge, rankings
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "dataset", "model", "samples", "scores", "settings", "output")
    parser.add_argument("--internal", type=Path, nargs="+", required=True)
    parser.add_argument("--beam", type=Path, required=True)
    args = parser.parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    # As many as the scores rest on, but of another split.
    samples = read_samples(args.samples)[: settings.samples.importance]
    usable, failed = readable(samples, core_exp.max_failed_fraction)
    scores = read_json(args.scores, IMPORTANCE)
    internal = {path.stem: read_json(path, INTERNAL_SCORES) for path in args.internal}
    engine = load_engine(settings, args.model)
    ranked = merge(
        scores["datasets"],
        model_checksum=scores["model_checksum"],
        num_blocks=scores["num_blocks"],
        selection="accuracy_drop",
        seed=settings.seed,
        internal=internal,
    )
    accuracy = compare_rules(
        engine,
        usable,
        dataset.style,
        SCORERS[dataset.scorer],
        rankings(ranked, read_json(args.beam, BEAM_SEARCH)),
        tier=settings.importance.tier,
        lowest_count=settings.knobs.num_active_blocks[0],
        batch_size=core_exp.batch_size,
        memory_bytes=core_exp.memory_bytes,
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
