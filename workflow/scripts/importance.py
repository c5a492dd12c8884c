"""Scores the blocks on one dataset: the accuracy that is lost when a block is skipped."""

from adamolmo.data.samples import read_samples
from adamolmo.data.scoring import SCORERS
from adamolmo.files.importance import IMPORTANCE_OF_DATASET
from adamolmo.files.schema import write_json
from adamolmo.importance.accuracy_drop import score_blocks
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    samples = read_samples(args.samples)
    engine = load_engine(settings, args.model)
    scores = score_blocks(
        engine,
        samples,
        dataset.style,
        SCORERS[dataset.scorer],
        tier=settings.importance.tier,
        batch_size=core_exp.batch_size,
        memory_bytes=core_exp.memory_bytes,
        max_failed_fraction=core_exp.max_failed_fraction,
    )
    write_json(scores, args.output, IMPORTANCE_OF_DATASET)


if __name__ == "__main__":
    run(main)
