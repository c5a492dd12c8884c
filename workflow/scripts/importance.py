"""Scores the blocks on one dataset: the accuracy that is lost when a block is skipped."""

from adamolmo.files.importance import IMPORTANCE_OF_DATASET
from adamolmo.files.schema import write_json
from adamolmo.importance.accuracy_drop import score_blocks
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import batch_limits, load_engine, load_questions
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    questions, failed = load_questions(settings, args.dataset, args.samples)
    engine = load_engine(settings, args.model)
    scores = score_blocks(engine, questions, settings.importance.tier, batch_limits(settings))
    write_json(scores | {"failed": failed}, args.output, IMPORTANCE_OF_DATASET)


if __name__ == "__main__":
    run(main)
