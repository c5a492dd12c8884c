"""Writes the study's report as one HTML file that needs no network."""

import argparse
import json
from pathlib import Path

from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.comparisons import COMPARISONS
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.model import MANIFEST
from adamolmo.files.schema import read_json, read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.writing import replacing
from adamolmo.jobs.script import run
from adamolmo.report.findings import StudyResults
from adamolmo.report.page import render

CONFIG = ["dataset", "sample_id", "image_id", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="PNG files in the order of the page")
    parser.add_argument("--captions", type=Path, nargs="+", required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--rule-graph", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    results = StudyResults(
        summary=read_table(args.summary, SUMMARY)[0],
        comparisons=read_table(args.comparisons, COMPARISONS)[0],
        profile=read_profiles(args.core_exp, CONFIG)[0],
        timing={path.stem: read_table(path, CORE_EXP, ["dataset"])[1] for path in args.core_exp},
    )
    page = render(
        args.template.read_text(),
        results,
        args.figures,
        {path.stem: path.read_text() for path in args.captions},
        manifest=read_json(args.manifest, MANIFEST),
        configuration=args.settings,
        rule_graph=args.rule_graph.read_text(),
    )
    with replacing(args.output) as path:
        path.write_text(page)


if __name__ == "__main__":
    run(main)
