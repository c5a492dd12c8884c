"""Writes the page of requests to look at: picture, question, and what every controller made of it."""

from pathlib import Path

from adamolmo.evaluation.requests import read_pictures, read_requests
from adamolmo.files.writing import replacing
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.report.examples import page
from adamolmo.report.inputs import add_inputs, read_inputs


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    add_inputs(parser, "summary", "promises")
    parser.add_argument("--results", type=Path, required=True, help="directory of the study's results")
    parser.add_argument("--template", type=Path, required=True)
    args = parser.parse_args()
    inputs = read_inputs(args)
    requests = read_requests(args.results, inputs["summary"])
    pictures = {dataset: read_pictures(args.results, dataset) for dataset in requests["dataset"].unique()}
    with replacing(args.output) as path:
        path.write_text(page(args.template, requests, inputs["promises"], pictures, args.settings.seed))


if __name__ == "__main__":
    run(main)
