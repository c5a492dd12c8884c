"""Ranks the blocks by the scores of all datasets."""

from pathlib import Path

from adamolmo.files.documents import read_json, write_json
from adamolmo.files.importance import BeamSearch, DatasetImportance, InternalScores
from adamolmo.files.model import Manifest
from adamolmo.importance.merge import merge
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--parts", type=Path, nargs="+", required=True)
    parser.add_argument("--internal", type=Path, nargs="*", required=True, help="none unless they select the blocks")
    parser.add_argument("--beam", type=Path, nargs="*", required=True, help="none unless it selects the blocks")
    args = parser.parse_args()
    manifest = read_json(args.manifest, Manifest)
    parts = {path.stem: read_json(path, DatasetImportance) for path in args.parts}
    scores = merge(
        parts,
        model_checksum=manifest.checksum,
        num_blocks=manifest.num_blocks,
        selection=args.settings.importance.selection,
        seed=args.settings.seed,
        internal={path.stem: read_json(path, InternalScores) for path in args.internal},
        beam=read_json(args.beam[0], BeamSearch) if args.beam else None,
    )
    write_json(scores, args.output)


if __name__ == "__main__":
    run(main)
