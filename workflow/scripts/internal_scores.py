"""Scores the blocks on one dataset from inside the model: activations, gradients, attention."""

from adamolmo.data.samples import read_samples
from adamolmo.files.importance import INTERNAL_SCORES
from adamolmo.files.schema import write_json
from adamolmo.importance.accuracy_drop import score_blocks_internally
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    samples = read_samples(args.samples)
    engine = load_engine(settings, args.model)
    scores = score_blocks_internally(
        engine,
        samples,
        settings.datasets[args.dataset].style,
        tier=settings.importance.tier,
        batch_size=settings.core_exp.batch_size,
        max_failed_fraction=settings.core_exp.max_failed_fraction,
    )
    write_json(scores, args.output, INTERNAL_SCORES)


if __name__ == "__main__":
    run(main)
