"""Stores what the two-stage controllers are trained on: the keys and values of every prompt in the fixed prefix."""

from adamolmo.controllers.training.features import make_features
from adamolmo.files.documents import read_json
from adamolmo.files.model import Manifest
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine, load_questions
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    engine = load_engine(settings, args.model)
    questions, _ = load_questions(settings, engine, args.dataset, args.samples)
    make_features(
        engine,
        questions,
        args.dataset,
        settings.core_exp.batch_size,
        read_json(args.model / "manifest.json", Manifest).checksum,
        args.output,
    )


if __name__ == "__main__":
    run(main)
