"""Writes the study's report as one HTML file that needs no network."""

import argparse
import json
from pathlib import Path

from adamolmo.files.writing import replacing
from adamolmo.jobs.script import run
from adamolmo.report.figures.style import tell_apart
from adamolmo.report.findings import StudyResults
from adamolmo.report.inputs import add_inputs, read_inputs
from adamolmo.report.page import page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_inputs(parser, "summary", "comparisons", "equal_latency", "promises", "profile", "grid", "timing", "manifest")
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--script", type=Path, required=True, help="JavaScript of the page")
    parser.add_argument("--data", type=json.loads, required=True, help="figure -> files that it is drawn from")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="PNG files in the order of the page")
    parser.add_argument("--captions", type=Path, nargs="+", required=True)
    parser.add_argument("--rule-graph", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--unfamiliar", nargs="*", required=True, help="controllers of the study that are not the library's"
    )
    args = parser.parse_args()
    tell_apart(args.unfamiliar)
    inputs = read_inputs(args)
    manifest, grid = inputs.pop("manifest"), inputs.pop("grid")
    text = page(
        args.template,
        StudyResults(**inputs),
        grid,
        args.figures,
        {path.stem: path.read_text() for path in args.captions},
        script=args.script,
        data=args.data,
        manifest=manifest,
        configuration=args.settings,
        rule_graph=args.rule_graph.read_text(),
    )
    with replacing(args.output) as path:
        path.write_text(text)


if __name__ == "__main__":
    run(main)
