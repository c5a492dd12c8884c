"""Searches for the sets of blocks that cost the least accuracy when they are removed together."""

from pathlib import Path

from adamolmo.data.samples import read_samples, readable
from adamolmo.data.scoring import SCORERS
from adamolmo.files.importance import BEAM_SEARCH
from adamolmo.files.model import MANIFEST
from adamolmo.files.schema import read_json, write_json
from adamolmo.importance.beam_search import search
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "model", "settings", "output")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="one per dataset, in their order")
    args = parser.parse_args()
    settings, core_exp = args.settings, args.settings.core_exp
    datasets = {}
    for (name, dataset), path in zip(settings.datasets.items(), args.samples, strict=True):
        samples, _ = readable(read_samples(path), core_exp.max_failed_fraction)
        datasets[name] = samples, dataset.style, SCORERS[dataset.scorer]
    manifest = read_json(args.model / "manifest.json", MANIFEST)
    engine = load_engine(settings, args.model)
    found = search(
        engine,
        datasets,
        tier=settings.importance.tier,
        width=settings.importance.beam_width,
        most_removed=manifest["num_blocks"] - settings.knobs.num_active_blocks[0],
        batch_size=core_exp.batch_size,
        memory_bytes=core_exp.memory_bytes,
    )
    write_json(found | {"model_checksum": manifest["checksum"]}, args.output, BEAM_SEARCH)


if __name__ == "__main__":
    run(main)
