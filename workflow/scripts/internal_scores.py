"""Scores the blocks on one dataset from inside the model: activations, gradients, attention."""

from adamolmo.files.documents import write_json
from adamolmo.importance.inner_scores import score_blocks_internally
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine, load_questions
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    engine = load_engine(settings, args.model)
    questions, failed = load_questions(settings, engine, args.dataset, args.samples)
    scores = score_blocks_internally(engine, questions, settings.importance.tier, settings.core_exp.batch_size, failed)
    write_json(scores, args.output)


if __name__ == "__main__":
    run(main)
