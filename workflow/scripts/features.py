"""Stores what the two-stage controllers are trained on: the keys and values of every prompt in the fixed prefix."""

from adamolmo.arguments import job_parser
from adamolmo.data.samples import read_samples, readable
from adamolmo.result_files.model import MANIFEST
from adamolmo.schema import read_json
from adamolmo.script import run
from adamolmo.study import claimed_engine


def main() -> None:
    args = job_parser(__doc__, "dataset", "model", "samples", "settings", "output").parse_args()
    settings = args.settings
    usable, _ = readable(read_samples(args.samples), settings.core_exp.max_failed_fraction)
    with claimed_engine(settings, args.model) as engine:
        from adamolmo.controllers.features import make_features

        make_features(
            engine,
            usable,
            args.dataset,
            settings.datasets[args.dataset].style,
            settings.core_exp.batch_size,
            read_json(args.model / "manifest.json", MANIFEST)["checksum"],
            args.output,
        )


if __name__ == "__main__":
    run(main)
