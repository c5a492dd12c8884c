"""Searches for the sets of blocks that cost the least accuracy when they are removed together."""

from pathlib import Path

from adamolmo.files.documents import read_json, write_json
from adamolmo.files.model import Manifest
from adamolmo.importance.beam_search import search
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import batch_limits, load_engine, load_questions
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "model", "settings", "output")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="one per dataset, in their order")
    args = parser.parse_args()
    settings = args.settings
    engine = load_engine(settings, args.model)
    datasets = {
        name: load_questions(settings, engine, name, path)[0]
        for name, path in zip(settings.datasets, args.samples, strict=True)
    }
    manifest = read_json(args.model / "manifest.json", Manifest)
    found = search(
        engine,
        datasets,
        tier=settings.importance.tier,
        width=settings.importance.beam_width,
        most_removed=manifest.num_blocks - settings.knobs.num_active_blocks[0],
        limits=batch_limits(settings),
        model_checksum=manifest.checksum,
    )
    write_json(found, args.output)


if __name__ == "__main__":
    run(main)
