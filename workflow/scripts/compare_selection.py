"""Accuracy against the number of blocks kept on one dataset, for each rule that ranks the blocks."""

from pathlib import Path

from adamolmo.data.samples import check_failures, read_samples
from adamolmo.files.documents import Failed, read_json, write_json
from adamolmo.files.importance import BeamSearch, Importance, InternalScores, Selection
from adamolmo.importance.compare import compare_rules
from adamolmo.importance.merge import merge, rankings
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import batch_limits, load_engine, usable_questions
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import Resampling


def main() -> None:
    parser = job_parser(__doc__, "dataset", "model", "samples", "scores", "settings", "output")
    parser.add_argument("--internal", type=Path, nargs="+", required=True)
    parser.add_argument("--beam", type=Path, required=True)
    args = parser.parse_args()
    settings = args.settings
    # As many as the scores rest on, but of another split.
    samples = read_samples(args.samples)[: settings.number_of_samples(args.dataset, "importance")]
    scores = read_json(args.scores, Importance)
    internal = {path.stem: read_json(path, InternalScores) for path in args.internal}
    engine = load_engine(settings, args.model)
    questions, failed = usable_questions(settings, engine, args.dataset, samples)
    check_failures(failed, len(samples), settings.core_exp.max_failed_fraction)
    ranked = merge(
        scores.datasets,
        model_checksum=scores.model_checksum,
        num_blocks=scores.num_blocks,
        selection="accuracy_drop",
        seed=settings.seed,
        internal=internal,
    )
    accuracy = compare_rules(
        engine,
        questions,
        rankings(ranked, read_json(args.beam, BeamSearch)),
        tier=settings.importance.tier,
        lowest_count=settings.knobs.num_active_blocks[0],
        limits=batch_limits(settings),
        resampling=Resampling(settings.bootstrap.resamples, settings.seed),
    )
    selection = Selection(
        num_samples=len(questions.samples),
        accuracy=accuracy,
        agreement=ranked.agreement,
        failed=tuple(Failed(**entry) for entry in failed),
    )
    write_json(selection, args.output)


if __name__ == "__main__":
    run(main)
