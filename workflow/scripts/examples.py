"""Writes the page of requests to look at: picture, question, and what every controller made of it."""

import json
from pathlib import Path

from adamolmo.evaluation.requests import read_pictures, read_requests
from adamolmo.files.comparisons import PROMISES
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.writing import replacing
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.report.examples import page


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    for table in ("summary", "promises"):
        parser.add_argument(f"--{table}", type=Path, required=True, help=f"the table {table}")
    parser.add_argument("--titles", type=json.loads, required=True, help="what readers see of each dataset, by name")
    parser.add_argument("--results", type=Path, required=True, help="directory of the study's results")
    parser.add_argument("--template", type=Path, required=True)
    args = parser.parse_args()
    summary, promises = read_table(args.summary, SUMMARY)[0], read_table(args.promises, PROMISES)[0]
    requests = read_requests(args.results, summary)
    pictures = {dataset: read_pictures(args.results, dataset) for dataset in requests["dataset"].unique()}
    with replacing(args.output) as path:
        path.write_text(page(args.template, requests, promises, pictures, args.titles, args.settings.seed))


if __name__ == "__main__":
    run(main)
