"""Scores the blocks on one dataset: the accuracy that is lost when a block is skipped."""

from adamolmo.files.documents import write_json
from adamolmo.importance.accuracy_drop import score_blocks
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import batch_limits, load_engine, load_questions
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    engine = load_engine(settings, args.model)
    questions, failed = load_questions(settings, engine, args.dataset, args.samples)
    scores = score_blocks(engine, questions, settings.importance.tier, batch_limits(settings), failed)
    write_json(scores, args.output)


if __name__ == "__main__":
    run(main)
