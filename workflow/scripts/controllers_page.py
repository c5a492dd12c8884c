"""Writes the page that sets the controllers side by side."""

from pathlib import Path

from adamolmo.files.writing import replacing
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.report.controllers_page import page
from adamolmo.report.inputs import add_inputs, read_inputs


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    always = ("summary", "comparisons", "equal_latency", "promises", "hypervolumes")
    add_inputs(parser, *always, optional=["regret", "trained"])
    parser.add_argument("--template", type=Path, required=True)
    args = parser.parse_args()
    with replacing(args.output) as path:
        path.write_text(page(args.template, own=args.settings.own_controllers, **read_inputs(args)))


if __name__ == "__main__":
    run(main)
