"""Writes the page that sets the controllers side by side."""

import json
from pathlib import Path

from adamolmo.files.comparisons import COMPARISONS, HYPERVOLUMES, REGRET
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.writing import replacing
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.report.controllers_page import page


def main() -> None:
    parser = job_parser(__doc__, "settings")
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--hypervolumes", type=Path, required=True)
    parser.add_argument("--regret", type=Path)
    parser.add_argument("--trained", type=Path, nargs="*", default=[], help="descriptions of the learned policies")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    text = page(
        read_table(args.summary, SUMMARY)[0],
        read_table(args.comparisons, COMPARISONS)[0],
        read_table(args.hypervolumes, HYPERVOLUMES)[0],
        read_table(args.regret, REGRET)[0] if args.regret else None,
        {path.parent.name: json.loads(path.read_text())["training"] for path in args.trained},
        args.settings.own_controllers,
    )
    with replacing(args.output) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    run(main)
